// The options of Azure's SDK.

import { parseConnectionString } from "../connection-string.js";
import { type Target, target } from "../options.js";
import { MoorageError } from "../wire/errors.js";

/** The options that both forms have. */
export interface AzureSocketIOCommonOptions {
  /** The hub that this app server serves. */
  readonly hub: string;
  /** The link connects to this address instead of the endpoint. */
  readonly reverseProxyEndpoint?: string;
}

/** Options with a connection string. */
export interface AzureSocketIOOptions extends AzureSocketIOCommonOptions {
  /** `Endpoint=…;AccessKey=…;Version=1.0;`. */
  readonly connectionString: string;
}

/** Options with an address and a key. */
export interface AzureSocketIOCredentialOptions extends AzureSocketIOCommonOptions {
  /** The service's address, such as `https://live.example.org`. */
  readonly endpoint: string;
  /** An `AzureKeyCredential`, or any object with the access key as `key`. */
  readonly credential: { readonly key: string };
}

/** The options of `useAzureSocketIO`. */
export type AnyAzureOptions = AzureSocketIOOptions | AzureSocketIOCredentialOptions;

/** Raises `MoorageError` (options, connection-string). */
export function azureTarget(options: AnyAzureOptions): Target {
  // JavaScript callers may pass anything.
  if (!options || !isCredential(options)) return target(options);
  const { hub, endpoint, credential } = options;
  if (typeof credential?.key !== "string")
    throw new MoorageError("options", "useAzureSocketIO: the credential must have the access key as `key`; Entra tokens are not supported");
  return { ...target({ hub, connectionString: `Endpoint=${endpoint};AccessKey=${credential.key};` }) };
}

const isCredential = (options: AnyAzureOptions): options is AzureSocketIOCredentialOptions =>
  (options as Partial<AzureSocketIOCredentialOptions>).credential !== undefined;

/** The address that the link connects to, if not the endpoint. Clients do not use it. */
export function proxyOf({ reverseProxyEndpoint }: AnyAzureOptions): { readonly via?: string } {
  if (!reverseProxyEndpoint) return {};
  return { via: parseConnectionString(`Endpoint=${reverseProxyEndpoint};AccessKey=-;`).endpoint };
}
