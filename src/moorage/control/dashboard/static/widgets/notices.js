// What the page says about itself: bars below its title, and short messages after an action.

import { h, setShown, setText } from "./dom.js";

/** A bar below the title. It is announced when it appears. */
export function bar(tone) {
  const text = h("span");
  const element = h("div", { class: `notice ${tone}`, role: "status", hidden: true }, text);
  return {
    element,
    /** Shows the text, or hides the bar if it is "". */
    say(message) {
      setText(text, message);
      setShown(element, message !== "");
    },
  };
}

const TOAST_SECONDS = 6;
const toasts = h("div", { class: "toasts", role: "status", "aria-live": "polite" });
document.body.append(toasts);

/** A message that goes away by itself. */
export function toast(message, tone = "ok") {
  const element = h("div", { class: `toast ${tone}` }, message);
  toasts.append(element);
  setTimeout(() => element.remove(), TOAST_SECONDS * 1000);
}
