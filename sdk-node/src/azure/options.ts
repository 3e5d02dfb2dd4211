// The options of Azure's SDK.

import { parseConnectionString } from "../connection-string.js";
import { type Target, target } from "../options.js";
import { MoorageError } from "../wire/errors.js";

export interface AzureSocketIOCommonOptions {
  readonly hub: string;
  /** The link connects to this address instead of the endpoint. */
  readonly reverseProxyEndpoint?: string;
}

export interface AzureSocketIOOptions extends AzureSocketIOCommonOptions {
  readonly connectionString: string;
}

export interface AzureSocketIOCredentialOptions extends AzureSocketIOCommonOptions {
  readonly endpoint: string;
  /** An `AzureKeyCredential`, or any object with the access key as `key`. */
  readonly credential: { readonly key: string };
}

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
