// A picture that tells the kernel when it is on the screen, and when nobody can see it.
// The rules about when a picture is sent are the kernel's: see frame_view.py.

export default {
  render({ model, el }) {
    const view = Math.random().toString(36).slice(2);
    const image = document.createElement("img");
    image.style.cssText = "display:block;width:100%;height:auto";
    image.style.maxWidth = `${model.get("max_width_px")}px`;
    el.append(image);
    let isInView = false;
    let isGone = false;

    async function draw() {
      const number = model.get("number");
      const url = URL.createObjectURL(new Blob([model.get("value")], { type: "image/jpeg" }));
      image.alt = model.get("caption");
      image.src = url;
      // It fails when a newer picture took its place, whose confirmation counts for both.
      const isDrawn = await image.decode().then(() => true, () => false);
      URL.revokeObjectURL(url);
      if (isDrawn && !isGone) {
        requestAnimationFrame(() => model.send({ event: "shown", number }));
      }
    }

    function tell() {
      const visible = isInView && !document.hidden && !isGone;
      model.send({ event: "visible", view, visible });
    }

    const observer = new IntersectionObserver((entries) => {
      const seen = entries[entries.length - 1].isIntersecting;
      if (seen !== isInView) {
        isInView = seen;
        tell();
      }
    });
    observer.observe(el);
    document.addEventListener("visibilitychange", tell);
    model.on("change:number", draw);
    draw();

    return () => {
      isGone = true;
      observer.disconnect();
      document.removeEventListener("visibilitychange", tell);
      model.off("change:number", draw);
      tell();
    };
  },
};
