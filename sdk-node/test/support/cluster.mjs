// Nodes of one cluster on a real nats-server, each with an address of its own.

import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:net";

import { NatsServer } from "../../../tests/node/lib/nats.mjs";
import { Service } from "../../../tests/node/lib/service.mjs";
import { poll } from "../../../tests/node/lib/waiting.mjs";

export class Cluster {
  /** Starts a node for each name. */
  static async start(...names) {
    const cluster = new Cluster();
    cluster.nats = await NatsServer.start();
    cluster.nodes = [];
    cluster._key = randomBytes(16).toString("hex");
    for (const name of names) await cluster.add(name);
    return cluster;
  }

  /** Starts one more node, and waits until all know it. */
  async add(name) {
    const port = await freePort();
    const set = [
      `cluster.nats_url=${this.nats.url}`,
      `cluster.node_name=${name}`,
      `cluster.advertise=http://127.0.0.1:${port}`,
    ];
    const node = await Service.start({ key: this._key, port, set });
    this.nodes.push(node);
    for (const each of this.nodes)
      await poll(async () => (await each.metric("moorage_cluster_nodes")) === this.nodes.length, "all nodes");
    return node;
  }

  async stop() {
    await Promise.all(this.nodes.map((node) => node.stop()));
    await this.nats.stop();
  }
}

async function freePort() {
  const probe = createServer().listen(0, "127.0.0.1");
  await once(probe, "listening");
  const { port } = probe.address();
  probe.close();
  await once(probe, "close");
  return port;
}
