// A panel with the current value of a figure and its curve over the last fifteen minutes. The cursors of all panels move
// together: while one is pointed at, every panel shows its value at that time.

import uPlot from "../vendor/uplot/uPlot.esm.js";
import { h, setAttribute, setText } from "./dom.js";
import { clock } from "./format.js";

/** What is shown at most, and at least: a service that has just started fills the panel soon. */
const MOST_SECONDS = 900;
const LEAST_SECONDS = 120;
const FONT = "11px system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif";
const SYNC = "history";

/** A colour of the style sheet, as it is in the current (light or dark) scheme. */
function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

/**
 * A new panel. `series` are `{ label, tone, value(point) }`, `format` makes the text of a value, `axis` that of a tick,
 * and `ticks` are the possible distances of ticks.
 */
export function chart({ title, series, format, axis = format, ticks, note = "" }) {
  const values = series.map(({ label, tone }) => {
    const value = h("span", { class: "value" }, "–");
    const legend = series.length > 1 && h("span", { class: `legend ${tone}` }, label);
    return { value, element: h("span", { class: "figure" }, value, legend) };
  });
  const place = h("div", { class: "plot", role: "img", "aria-label": summary(title, series, [], format) });
  const element = h(
    "section",
    { class: "panel chart", "aria-label": title },
    h("header", {}, h("h2", {}, title), note && h("span", { class: "note" }, note)),
    h(
      "div",
      { class: series.length > 1 ? "figures several" : "figures" },
      values.map((value) => value.element),
    ),
    place,
  );
  let points = [];
  let plot = null;

  function show(index) {
    const point = points[index ?? points.length - 1];
    series.forEach((one, at) => setText(values[at].value, format(point ? one.value(point) : null)));
  }

  const size = () => ({ width: place.clientWidth, height: place.clientHeight });
  const resizing = new ResizeObserver(() => plot?.setSize(size()));
  const scheme = matchMedia("(prefers-color-scheme: dark)");
  const repaint = () => plot?.redraw(false, true);
  scheme.addEventListener("change", repaint);
  resizing.observe(place);

  function update(data) {
    points = data;
    const columns = [
      data.map(({ time }) => time),
      ...series.map(({ value }) => data.map((point) => value(point) ?? null)),
    ];
    if (plot === null && place.clientWidth > 0)
      plot = new uPlot({ ...size(), ...options({ series, axis, ticks, show }) }, columns, place);
    else plot?.setData(columns);
    if (plot?.cursor.idx === null || plot === null) show(null);
    setAttribute(place, "aria-label", summary(title, series, data, format));
  }

  function close() {
    scheme.removeEventListener("change", repaint);
    resizing.disconnect();
    plot?.destroy();
  }

  return { element, update, close };
}

function summary(title, series, points, format) {
  if (points.length === 0) return `${title}: no data yet`;
  return series
    .map(({ label, value }) => {
      const known = points.map(value).filter((one) => typeof one === "number");
      const [least, most] = known.length > 0 ? [Math.min(...known), Math.max(...known)] : [null, null];
      return `${label}: now ${format(value(points.at(-1)))}, between ${format(least)} and ${format(most)} in the last 15 minutes`;
    })
    .join("; ");
}

function options({ series, axis, ticks, show }) {
  const line = { stroke: () => colour("line"), width: 1 };
  return {
    padding: [8, 2, 0, 0],
    legend: { show: false },
    cursor: { sync: { key: SYNC }, y: false, drag: { x: false, y: false }, points: { size: 6 } },
    scales: {
      x: {
        time: true,
        range: (_plot, first, last) => [last - Math.min(MOST_SECONDS, Math.max(LEAST_SECONDS, last - first)), last],
      },
      y: { range: (_plot, _least, most) => [0, most > 0 ? most * 1.08 : 1] },
    },
    axes: [
      {
        stroke: () => colour("muted"),
        font: FONT,
        grid: { show: false },
        ticks: { show: false },
        size: 22,
        gap: 4,
        space: 52,
        incrs: [30, 60, 120, 180, 300, 600],
        values: (_plot, places) => places.map((place) => clock(place).slice(0, 5)),
      },
      {
        stroke: () => colour("muted"),
        font: FONT,
        grid: line,
        ticks: { show: false },
        size: 52,
        gap: 6,
        space: 34,
        ...(ticks && { incrs: ticks }),
        values: (_plot, places) => places.map((place) => axis(place)),
      },
    ],
    series: [
      {},
      ...series.map(({ label, tone }) => ({
        label,
        stroke: () => colour(tone),
        width: 1.5,
        points: { show: false },
        fill: series.length === 1 ? () => colour(`${tone}-soft`) : undefined,
      })),
    ],
    hooks: { setCursor: [(plot) => show(plot.cursor.idx)] },
  };
}
