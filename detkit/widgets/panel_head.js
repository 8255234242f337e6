// The title of a panel. It also names what ipywidgets leaves without a name for screen readers: the
// handle of a slider gets the text of the label before it, a button that shows a sign its tooltip.

function nameControls(panel) {
  for (const slider of panel.querySelectorAll(".widget-slider")) {
    const label = slider.querySelector(".widget-label")?.textContent;
    for (const handle of slider.querySelectorAll(".noUi-handle")) {
      if (label && handle.getAttribute("aria-label") !== label) {
        handle.setAttribute("aria-label", label);
      }
    }
  }
  for (const button of panel.querySelectorAll("button[title]")) {
    if (!/\p{L}/u.test(button.textContent) && button.ariaLabel !== button.title) {
      button.ariaLabel = button.title;
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
      nameControls(panel);
      observer = new MutationObserver(() => nameControls(panel));
      observer.observe(panel, { childList: true, subtree: true });
    }, 100);
    return () => {
      clearInterval(waiting);
      observer?.disconnect();
    };
  },
};
