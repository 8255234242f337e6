"""`PanelHead`: the title of a panel, and with it the look of everything below.

`panel_head.js` also sees to what people need who listen to a page or use it without a mouse: names,
keys and focus. Knows colours and the browser's classes; never what a panel is about.
"""

from __future__ import annotations

from pathlib import Path

import anywidget
import traitlets

# JupyterLab's own variables, so that a panel follows the theme; what comes after the comma is for
# places without them. The alarm colour has a contrast above 4.5 on white and on #111.
_CSS = """
.detkit-panel { border: 1px solid var(--jp-border-color2, #8884); border-radius: 6px;
  padding: 8px 10px; color: var(--jp-ui-font-color1, inherit); overflow: hidden; }
.detkit-panel .detkit-title { font-weight: 600; font-size: 14px; line-height: 24px;
  color: var(--jp-ui-font-color1, inherit); }
.detkit-panel .detkit-note { color: var(--jp-ui-font-color1, inherit); line-height: 20px;
  font-variant-numeric: tabular-nums; }
.detkit-panel .detkit-faint { color: var(--jp-ui-font-color2, inherit); }
.detkit-panel .detkit-error { border-left: 4px solid #d1442f; padding: 4px 8px;
  line-height: 20px; background: rgba(209, 68, 47, 0.12); overflow-wrap: anywhere; }
.detkit-panel .widget-html, .detkit-panel .widget-html-content { min-width: 0; }
.detkit-panel table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
.detkit-panel th, .detkit-panel td { padding: 3px 10px; text-align: right; line-height: 18px;
  border-bottom: 1px solid var(--jp-border-color2, #8884); white-space: nowrap; }
.detkit-panel th { font-weight: 600; }
.detkit-panel td.detkit-text, .detkit-panel th.detkit-text { text-align: left; }
.detkit-panel tr.detkit-best td { font-weight: 700;
  background: rgba(46, 160, 67, 0.16); }
.detkit-panel img { border-radius: 4px; }
.detkit-panel .detkit-card img { cursor: zoom-in; }
.detkit-panel .detkit-large img { cursor: zoom-out; }
.detkit-panel .detkit-drop { margin: 6px 2px; }
.detkit-panel .widget-checkbox label { display: flex; align-items: center; }
.detkit-panel .widget-checkbox input { margin-top: 0; margin-bottom: 0; }
body[data-jp-theme-light="false"] .detkit-panel select { color-scheme: dark;
  background-image: linear-gradient(45deg, transparent 50%, #ddd 50%),
    linear-gradient(-45deg, transparent 50%, #ddd 50%); background-repeat: no-repeat;
  background-size: 5px 5px, 5px 5px; background-position: right 12px center, right 7px center; }
body[data-jp-theme-light="false"] .detkit-panel select[multiple] { background-image: none; }
.detkit-panel .widget-toggle-button.mod-active { font-weight: 700;
  box-shadow: inset 0 0 0 2px var(--jp-brand-color1, #3f9bd8); }
.detkit-panel button:focus-visible, .detkit-panel select:focus-visible,
.detkit-panel input:focus-visible, .detkit-panel textarea:focus-visible {
  outline: 2px solid var(--jp-ui-font-color1, #3f9bd8); outline-offset: 1px; }
.detkit-panel .noUi-handle:focus-visible { outline: 2px solid var(--jp-ui-font-color1, #3f9bd8);
  outline-offset: 2px; }
"""


class PanelHead(anywidget.AnyWidget):
    """The widget itself."""

    _esm = Path(__file__).with_suffix(".js")
    _css = _CSS
    title = traitlets.Unicode().tag(sync=True)
