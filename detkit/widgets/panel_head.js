// The title of a panel. It also sees to what ipywidgets leaves open for people who listen to a page or
// use it without a mouse: names for what has none, keys that stay in the panel, a place for the
// keyboard when the button that has it is disabled, and thumbnails that can be clicked.

const SETTLED_MS = 150; // one answer of the kernel disables one button and enables another

function name(element, text, role) {
  if (!text || element.getAttribute("aria-label") === text) return;
  element.setAttribute("aria-label", text);
  if (role) element.setAttribute("role", role);
}

function nameControls(panel) {
  for (const slider of panel.querySelectorAll(".widget-slider")) {
    const label = slider.querySelector(".widget-label")?.textContent;
    for (const handle of slider.querySelectorAll(".noUi-handle")) name(handle, label);
    const readout = slider.querySelector(".widget-readout[contenteditable]");
    if (label && readout) name(readout, `${label}, as a number`, "textbox");
  }
  for (const button of panel.querySelectorAll("button[title]")) {
    if (!/\p{L}/u.test(button.textContent)) name(button, button.title);
  }
  for (const card of panel.querySelectorAll(".detkit-card")) {
    name(card, card.querySelector("button")?.title.replace(/^Enlarge /, ""), "group");
  }
}

// JupyterLab has commands on plain keys, such as "x" for cutting the cell, and takes them from a
// list that is being chosen from. What it has on Ctrl, Alt and Shift with Enter stays there.
function keepKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.key === "Escape") return;
  if (!(event.key === "Enter" && event.shiftKey)) event.stopPropagation();
}

function keepFocus(panel) {
  let focused = null;
  panel.addEventListener("focusin", (event) => (focused = event.target));
  panel.addEventListener("focusout", (event) => {
    if (event.relatedTarget) focused = null;
  });
  const observer = new MutationObserver(() => {
    const left = focused;
    if (!left?.disabled) return;
    setTimeout(() => {
      const isLost = [document.body, left].includes(document.activeElement);
      if (left === focused && left.disabled && isLost) {
        left.parentElement?.querySelector("button:enabled")?.focus({ preventScroll: true });
      }
    }, SETTLED_MS);
  });
  observer.observe(panel, { attributes: true, attributeFilter: ["disabled"], subtree: true });
  return observer;
}

// A picture is as good as the first button beside it. What is enlarged comes into view, once.
function pressPictures(panel) {
  let isOpening = false;
  panel.addEventListener("click", ({ target }) => {
    const box = target.closest(".detkit-card, .detkit-large");
    const button = box?.querySelector("button");
    if (!button) return;
    if (target.tagName === "IMG") button.click();
    if (button.contains(target)) isOpening = box.matches(".detkit-card");
  });
  return () => {
    const large = isOpening && panel.querySelector(".detkit-large img");
    if (!large) return;
    isOpening = false;
    setTimeout(() => large.scrollIntoView({ block: "nearest" }), SETTLED_MS);
  };
}

export default {
  render({ model, el }) {
    const title = document.createElement("span");
    title.className = "detkit-title";
    title.textContent = model.get("title");
    title.setAttribute("role", "heading");
    title.setAttribute("aria-level", "3");
    el.append(title);

    const observers = [];
    // The panel is put round its head, and its controls beside it, only after this returns.
    const waiting = setInterval(() => {
      const panel = el.closest(".detkit-panel");
      if (!panel) return;
      clearInterval(waiting);
      panel.setAttribute("role", "group");
      panel.setAttribute("aria-label", model.get("title"));
      panel.addEventListener("keydown", keepKey);
      const showLarge = pressPictures(panel);
      nameControls(panel);
      const changed = new MutationObserver(() => {
        nameControls(panel);
        showLarge();
      });
      changed.observe(panel, { childList: true, subtree: true });
      observers.push(changed, keepFocus(panel));
    }, 100);
    return () => {
      clearInterval(waiting);
      for (const observer of observers) observer.disconnect();
    };
  },
};
