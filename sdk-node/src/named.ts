// Objects whose members are named by others. A client may call a header `__proto__`, and a library of the app may
// have given `Object.prototype` a member of its own: neither is special here, so nothing uses `for…in`, and what is
// only looked up is in a `Map`.

/** As `object[name] = value`, but `__proto__` is a name like any other. */
export function put<T>(object: Record<string, T>, name: string, value: T): void {
  if (name === "__proto__") Object.defineProperty(object, name, { value, configurable: true, enumerable: true, writable: true });
  else object[name] = value;
}

const Bare = function () {} as unknown as new () => Record<string, never>;
Bare.prototype = Object.create(null);

/** An object without inherited members. V8 keeps what `Object.create(null)` makes as a hash table, which is larger and
 * slower to fill; Node's own `querystring` avoids that in the same way. */
export function bare<T>(): Record<string, T> {
  return new Bare();
}
