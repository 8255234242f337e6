// A picture that tells the kernel when it is on the screen, how wide it is there, and when nobody
// can see it. The rules about when a picture is sent are the kernel's: see frame_view.py.
//
// A canvas that is handed decoded pictures, and no <img>: that would decode every picture twice and
// paint it as often as a piece of it arrives, for twice the work in all.

const RESIZED_MS = 200; // a window that is being dragged is not told about every pixel

export default {
  render({ model, el }) {
    const view = Math.random().toString(36).slice(2);
    const canvas = document.createElement("canvas");
    canvas.className = "detkit-picture";
    canvas.style.cssText = "display:block;width:100%;height:auto";
    canvas.style.maxWidth = `${model.get("max_width_px")}px`;
    canvas.setAttribute("role", "img");
    el.append(canvas);
    const context = canvas.getContext("bitmaprenderer");
    let isInView = false;
    let isGone = false;
    let drawn = -1;
    let resized = null;

    async function draw() {
      const number = model.get("number");
      const caption = model.get("caption");
      const mustConfirm = model.get("must_confirm");
      const jpeg = new Blob([model.get("value")], { type: "image/jpeg" });
      const picture = await createImageBitmap(jpeg).catch(() => null);
      // The confirmation of a newer one, which came first, counts for both.
      if (picture === null || isGone || number < drawn) return;
      drawn = number;
      if (canvas.width !== picture.width) canvas.width = picture.width;
      if (canvas.height !== picture.height) canvas.height = picture.height;
      context.transferFromImageBitmap(picture);
      canvas.setAttribute("aria-label", caption);
      if (mustConfirm) requestAnimationFrame(() => model.send({ event: "shown", number }));
    }

    function tell() {
      const visible = isInView && !document.hidden && !isGone;
      const width_px = Math.ceil(canvas.clientWidth * window.devicePixelRatio);
      model.send({ event: "visible", view, visible, width_px });
    }

    const observer = new IntersectionObserver((entries) => {
      const seen = entries[entries.length - 1].isIntersecting;
      if (seen !== isInView) {
        isInView = seen;
        tell();
      }
    });
    observer.observe(el);
    const ruler = new ResizeObserver(() => {
      clearTimeout(resized);
      if (isInView) resized = setTimeout(tell, RESIZED_MS);
    });
    ruler.observe(canvas);
    document.addEventListener("visibilitychange", tell);
    model.on("change:number", draw);
    draw();

    return () => {
      isGone = true;
      clearTimeout(resized);
      observer.disconnect();
      ruler.disconnect();
      document.removeEventListener("visibilitychange", tell);
      model.off("change:number", draw);
      tell();
    };
  },
};
