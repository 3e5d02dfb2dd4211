// An uplink that records its calls. A request waits in `asked` until the test answers it.

export class Recorder {
  serverId = "me";
  recovers = true;
  sent = [];
  volatile = [];
  asked = [];
  #ref = 0;

  send(frame) {
    this.sent.push(frame);
  }

  sendVolatile(frame) {
    this.volatile.push(frame);
    return true;
  }

  request(make, { onPart, onDone } = {}) {
    const frame = make((this.#ref += 1));
    return new Promise((resolve, reject) => {
      const done = (rest) => {
        const end = { type: 14, ref: frame.ref, count: 0, missing: [], ...rest };
        onDone?.(end);
        resolve(end);
      };
      this.asked.push({ frame, part: (part) => onPart?.(part), done, fail: reject });
    });
  }
}
