// Hands pictures to the kernel and files to the person. The kernel asks for every piece of the
// former, the page for every piece of the latter: see inbox.py and file_exchange.py.

export default {
  render({ model, el }) {
    const view = Math.random().toString(36).slice(2);
    const send = (event, facts = {}, buffers = []) =>
      model.send({ event, view, ...facts }, undefined, buffers);

    const zone = document.createElement("div");
    zone.className = "detkit-drop";
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = "Choose pictures";
    const hint = document.createElement("span");
    hint.textContent = " or drop them here";
    const input = document.createElement("input");
    input.type = "file";
    input.multiple = true;
    input.accept = "image/*,.tif,.tiff,.webp";
    input.hidden = true;
    input.setAttribute("aria-label", "Pictures to detect in");
    zone.append(button, hint, input);
    el.append(zone);

    let files = [];

    function offer(list) {
      if (!list.length || files.length) return;
      files = [...list];
      button.disabled = true;
      send("offer", { files: files.map(({ name, size }) => ({ name, size })) });
    }

    async function sendPart({ file, offset, size }) {
      let data = new ArrayBuffer(0);
      try {
        data = await files[file].slice(offset, offset + size).arrayBuffer();
      } catch {
        // A file that cannot be read any more arrives empty, which the kernel refuses in words.
      }
      send("part", { file, offset }, [data]);
    }

    let saving = null;

    function takeBytes(message, buffers) {
      if (!saving) return;
      saving.parts.push(new Blob([buffers[0]]));
      saving.taken += buffers[0].byteLength;
      if (saving.taken < saving.size) return send("take", { offset: saving.taken });
      const url = URL.createObjectURL(new Blob(saving.parts, { type: saving.type }));
      const link = document.createElement("a");
      link.href = url;
      link.download = saving.name;
      link.click();
      setTimeout(() => URL.revokeObjectURL(url), 60_000);
      saving = null;
    }

    function heard(message, buffers) {
      if (message.view !== view) return;
      if (message.event === "want") sendPart(message);
      if (message.event === "done") {
        files = [];
        button.disabled = false;
      }
      if (message.event === "bytes") takeBytes(message, buffers);
      if (message.event === "save") {
        saving = { ...message, parts: [], taken: 0 };
        send("take", { offset: 0 });
      }
    }

    button.addEventListener("click", () => input.click());
    input.addEventListener("change", () => {
      offer(input.files);
      input.value = "";
    });
    for (const kind of ["dragenter", "dragover", "dragleave", "drop"]) {
      zone.addEventListener(kind, (event) => {
        event.preventDefault();
        event.stopPropagation();
        zone.classList.toggle("detkit-over", kind === "dragenter" || kind === "dragover");
        if (kind === "drop") offer(event.dataTransfer.files);
      });
    }
    model.on("msg:custom", heard);
    send("hello");
    return () => {
      model.off("msg:custom", heard);
      send("bye");
    };
  },
};
