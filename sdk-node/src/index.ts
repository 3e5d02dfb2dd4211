// The package's public surface.

export { MoorageError } from "./link/errors.js";
