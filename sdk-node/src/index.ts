// The package's public interface.

export { missingServers } from "./adapter/fetching.js";
export {
  type ConfigureNegotiateOptions,
  negotiate,
  type NegotiateOptions,
  type NegotiateResponse,
  restorePassport,
  usePassport,
} from "./azure/negotiate.js";
export type { AnyAzureOptions, AzureSocketIOCommonOptions, AzureSocketIOCredentialOptions, AzureSocketIOOptions } from "./azure/options.js";
export { useAzureSocketIO } from "./azure/use-azure-socket-io.js";
export { claimsOf, userIdOf } from "./engine/identity.js";
export type { ClientRequest } from "./engine/request.js";
export type { NodeInfo } from "./link/types.js";
export type { HandedOver, Moorage, MoorageEvents } from "./moorage.js";
export type { MoorageOptions } from "./options.js";
export { useMoorage } from "./use-moorage.js";
export { MoorageError } from "./wire/errors.js";
