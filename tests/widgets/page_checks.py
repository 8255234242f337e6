"""Pieces of JavaScript that list what in a page of panels some people could not use."""

from __future__ import annotations

# Controls that a screen reader has no name for, or that the tab key does not reach.
NAMELESS = """() => {
    const name = e => e.getAttribute('aria-label') || e.title
        || !e.isContentEditable && e.textContent.trim()
        || [...(e.labels || [])].map(l => l.textContent.trim()).join('');
    const kinds = ['button', 'input', 'select', 'textarea', '[role=slider]', '[contenteditable]'];
    return [...document.querySelectorAll(kinds.map(k => '.detkit-panel ' + k).join(','))]
        .filter(e => e.offsetParent !== null)
        .filter(e => !(name(e) && (e.tabIndex >= 0 || e.isContentEditable)))
        .map(e => e.outerHTML.slice(0, 200));
}"""

# Texts with a contrast below 4.5 to what lies behind them, the bound of WCAG 2.1, 1.4.3.
UNREADABLE = """() => {
    const rgba = text => {
        const [r, g, b, a = 1] = text.match(/[\\d.]+/g).map(Number);
        return [r, g, b, a];
    };
    const mixed = (v, a, below) => v * a + below * (1 - a);
    const over = (top, below) => top.slice(0, 3).map((v, i) => mixed(v, top[3], below[i]));
    const behind = e => {
        if (!e) return [255, 255, 255];
        const own = rgba(getComputedStyle(e).backgroundColor);
        return own[3] === 1 ? own.slice(0, 3) : over(own, behind(e.parentElement));
    };
    const light = c => {
        const [r, g, b] = c.map(v => v / 255)
            .map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const ours = '.detkit-title, .detkit-note, .detkit-faint, .detkit-error, td, th, svg text,'
        + '.detkit-drop *, .widget-label, .widget-readout, .jupyter-button:enabled';
    const found = [];
    for (const panel of document.querySelectorAll('.detkit-panel')) {
        for (const e of panel.querySelectorAll(ours)) {
            if (!e.textContent.trim() || !e.getClientRects().length) continue;
            const style = getComputedStyle(e);
            const ink = rgba(e.tagName === 'text' ? style.fill : style.color);
            const ground = behind(e);
            const [a, b] = [light(over(ink, ground)), light(ground)].sort((x, y) => y - x);
            const contrast = (a + 0.05) / (b + 0.05);
            if (contrast < 4.5) found.push(`${contrast.toFixed(2)}: ${e.outerHTML.slice(0, 160)}`);
        }
    }
    return found;
}"""
