// The error class, from the layer that needs it lowest.

export { MoorageError } from "../wire/errors.js";
