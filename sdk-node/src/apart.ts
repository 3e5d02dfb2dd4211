// Handlers of the app that run in the middle of our own work.

/** Runs `work`. What it throws is thrown on its own account, as it would be if socket.io had called the handler out
 * of a socket's event, and does not keep the caller from going on. */
export function apart(work: () => void): void {
  try {
    work();
  } catch (error) {
    throwApart(error);
  }
}

/** On its own account. */
export function throwApart(error: unknown): void {
  setImmediate(() => {
    throw error;
  });
}
