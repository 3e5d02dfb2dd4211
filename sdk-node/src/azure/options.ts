// The options of Azure's SDK.

import { parseConnectionString } from "../link/connection-string.js";
import { type Target, target } from "../options.js";
import { MoorageError } from "../wire/errors.js";

export interface AzureSocketIOCommonOptions {
  readonly hub: string;
  /** The link goes there instead of to the endpoint. */
  readonly reverseProxyEndpoint?: string;
}

export interface AzureSocketIOOptions extends AzureSocketIOCommonOptions {
  readonly connectionString: string;
}

export interface AzureSocketIOCredentialOptions extends AzureSocketIOCommonOptions {
  readonly endpoint: string;
  /** An `AzureKeyCredential`, or anything that has the access key as `key`. */
  readonly credential: { readonly key: string };
}

export type AnyAzureOptions = AzureSocketIOOptions | AzureSocketIOCredentialOptions;

/** Raises `MoorageError` (options, connection-string). */
export function azureTarget(options: AnyAzureOptions): Target {
  // Without types anything may come.
  if (!options || !isCredential(options)) return target(options);
  const { hub, endpoint, credential } = options;
  if (typeof credential?.key !== "string")
    throw new MoorageError("options", "useAzureSocketIO: the credential must have the access key as `key`: there are no Entra tokens here");
  return { ...target({ hub, connectionString: `Endpoint=${endpoint};AccessKey=${credential.key};` }) };
}

const isCredential = (options: AnyAzureOptions): options is AzureSocketIOCredentialOptions =>
  (options as Partial<AzureSocketIOCredentialOptions>).credential !== undefined;

/** Where the link goes, if not to the endpoint. Clients do not go there. */
export function proxyOf({ reverseProxyEndpoint }: AnyAzureOptions): { readonly via?: string } {
  if (!reverseProxyEndpoint) return {};
  return { via: parseConnectionString(`Endpoint=${reverseProxyEndpoint};AccessKey=-;`).endpoint };
}
