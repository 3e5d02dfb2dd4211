// The curves of the last fifteen minutes, of the cluster or of one node.

import { chart } from "./widgets/chart.js";
import { h } from "./widgets/dom.js";
import { bytes, count, decimal, latency, short } from "./widgets/format.js";

/** Distances between the ticks of an axis of clients, and of an axis of bytes. */
const WHOLE = Array.from({ length: 8 }, (_, power) => [1, 2, 5].map((first) => first * 10 ** power)).flat();
const BINARY = Array.from({ length: 50 }, (_, power) => 2 ** power);

/** The panels. `update` takes an answer of `/api/v1/history`, whose points count what happened in `step` seconds. */
export function historyCharts() {
  let step = 5;
  const rate = (field) => (point) => (typeof point[field] === "number" ? point[field] / step : null);
  const level = (field) => (point) => point[field];
  const panels = [
    chart({
      title: "Clients",
      series: [{ label: "Clients", tone: "blue", value: level("connections") }],
      format: count,
      axis: short,
      ticks: WHOLE,
    }),
    chart({
      title: "Messages per second",
      format: decimal,
      axis: short,
      series: [
        { label: "out", tone: "blue", value: rate("messages_out") },
        { label: "in", tone: "teal", value: rate("messages_in") },
      ],
    }),
    chart({
      title: "Clients per second",
      format: decimal,
      axis: short,
      series: [
        { label: "connect", tone: "teal", value: rate("connects") },
        { label: "leave", tone: "amber", value: rate("disconnects") },
      ],
    }),
    chart({
      title: "CPU",
      note: "cores",
      series: [{ label: "CPU", tone: "violet", value: level("cpu") }],
      format: decimal,
      axis: short,
    }),
    chart({
      title: "Memory",
      series: [{ label: "Memory", tone: "violet", value: level("memory") }],
      format: bytes,
      ticks: BINARY,
    }),
    chart({
      title: "Event loop lag",
      note: "late by",
      series: [{ label: "Lag", tone: "amber", value: level("loop_lag") }],
      format: latency,
    }),
    chart({
      title: "Queued",
      note: "for clients",
      series: [{ label: "Queued", tone: "amber", value: level("queued_bytes") }],
      format: bytes,
      ticks: BINARY,
    }),
    chart({
      title: "Traffic per second",
      format: bytes,
      ticks: BINARY,
      series: [
        { label: "out", tone: "blue", value: rate("bytes_out") },
        { label: "in", tone: "teal", value: rate("bytes_in") },
      ],
    }),
  ];

  function update(history) {
    step = history.step;
    for (const panel of panels) panel.update(history.points);
  }

  function close() {
    for (const panel of panels) panel.close();
  }

  return {
    element: h(
      "div",
      { class: "charts" },
      panels.map(({ element }) => element),
    ),
    update,
    close,
  };
}
