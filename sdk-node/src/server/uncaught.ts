// Calls of the app's handlers from code that must go on when a handler throws.

/** Runs `work`. An exception becomes an uncaught one, as if socket.io had called the handler from a socket's event,
 * and does not stop the caller. */
export function callHandler(work: () => void): void {
  try {
    work();
  } catch (error) {
    throwUncaught(error);
  }
}

/** Throws `error` in a turn of the event loop of its own, where nothing catches it. */
export function throwUncaught(error: unknown): void {
  setImmediate(() => {
    throw error;
  });
}
