// The title of a panel. It also names the handles of sliders, which ipywidgets leaves without a
// name for screen readers: each gets the text of the label before it.

function nameSliders(panel) {
  for (const slider of panel.querySelectorAll(".widget-slider")) {
    const label = slider.querySelector(".widget-label")?.textContent;
    for (const handle of slider.querySelectorAll(".noUi-handle")) {
      if (label && handle.getAttribute("aria-label") !== label) {
        handle.setAttribute("aria-label", label);
      }
    }
  }
}

export default {
  render({ model, el }) {
    const title = document.createElement("span");
    title.className = "detkit-title";
    title.textContent = model.get("title");
    title.setAttribute("role", "heading");
    title.setAttribute("aria-level", "3");
    el.append(title);

    let observer = null;
    // The panel is put round its head, and its controls beside it, only after this returns.
    const waiting = setInterval(() => {
      const panel = el.closest(".detkit-panel");
      if (!panel) return;
      clearInterval(waiting);
      panel.setAttribute("role", "group");
      panel.setAttribute("aria-label", model.get("title"));
      nameSliders(panel);
      observer = new MutationObserver(() => nameSliders(panel));
      observer.observe(panel, { childList: true, subtree: true });
    }, 100);
    return () => {
      clearInterval(waiting);
      observer?.disconnect();
    };
  },
};
