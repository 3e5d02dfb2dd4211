// Objects whose keys come from a peer. A client may call a header `__proto__`, and a library of the app may have
// added a member to `Object.prototype`. Neither may have an effect, so this package does not use `for…in`, and keeps
// tables in a `Map`.

/** Like `object[name] = value`, but treats `__proto__` like any other name. */
export function setKey<T>(object: Record<string, T>, name: string, value: T): void {
  if (name === "__proto__") Object.defineProperty(object, name, { value, configurable: true, enumerable: true, writable: true });
  else object[name] = value;
}

const WithoutPrototype = function () {} as unknown as new () => Record<string, never>;
WithoutPrototype.prototype = Object.create(null);

/** Returns an object without inherited members. V8 keeps the result of `Object.create(null)` as a hash table, which is
 * larger and slower to fill; Node's own `querystring` avoids that in the same way. */
export function withoutPrototype<T>(): Record<string, T> {
  return new WithoutPrototype();
}
