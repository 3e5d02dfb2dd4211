// Decodes the service's batches into frames.

import {
  Type,
  type Arriving,
  type Chunk,
  type Data,
  type FromService,
  type Headers,
  type NodeRow,
  type ServerRow,
  type ServiceHello,
  type Sockets,
} from "./frames.js";
import { Reader, badFrame } from "./reader.js";
import { rowsOf } from "./rows.js";

interface Batch {
  /** 0: not numbered. */
  readonly number: number;
  /** The highest batch number that the service has taken. */
  readonly ack: number;
  readonly frames: readonly FromService[];
}

/** The largest number of seconds that is accepted, which excludes infinity and NaN. */
const MAX_SECONDS = 2 ** 31;

/** Decodes a whole batch. Raises `MoorageError` (link-bad-frame) for any other bytes. */
export function decodeBatch(bytes: Buffer): Batch {
  const from = new Reader(bytes);
  if (from.array() !== 3) throw badFrame("a batch without exactly three elements");
  const number = from.uint();
  const ack = from.uint();
  const frames: FromService[] = [];
  for (let left = from.array(); left > 0; left -= 1) frames.push(frame(from));
  if (!from.atEnd) throw badFrame("bytes after the end of the batch");
  return { number, ack, frames };
}

function frame(from: Reader): FromService {
  const fields = from.array() - 1;
  if (fields < 0) throw badFrame("a frame without a type");
  const type = from.uint();
  // Checked first, because nearly all frames are of this type.
  if (type === Type.Packet && fields === 2) return { type, client: from.uint(), payload: from.bin() };
  const shape = SHAPES[type];
  if (shape === undefined) throw badFrame(`unknown frame type ${type}`);
  if (fields < shape.min) throw badFrame(`a frame of type ${type} with ${fields} fields instead of ${shape.min}`);
  const read = shape.read(from, fields);
  // Later revisions append fields.
  from.skip(fields - Math.min(fields, shape.max));
  return read;
}

interface Shape {
  /** Number of fields after the type: those that must be present, and those that are known. */
  readonly min: number;
  readonly max: number;
  readonly read: (from: Reader, fields: number) => FromService;
}

function exactly(fields: number, read: (from: Reader) => FromService): Shape {
  return { min: fields, max: fields, read };
}

/** Indexed by type, which is a small number. */
const SHAPES: (Shape | undefined)[] = [];

SHAPES[Type.Packet] = exactly(2, (from) => ({ type: Type.Packet, client: from.uint(), payload: from.bin() }));
SHAPES[Type.Hello] = { min: 11, max: 14, read: hello };
SHAPES[Type.Open] = exactly(4, (from) => ({
  type: Type.Open,
  client: from.uint(),
  id: from.str(),
  user: from.strOrNil(),
  handshake: from.bin(),
}));
SHAPES[Type.Closed] = exactly(4, (from) => ({
  type: Type.Closed,
  client: from.uint(),
  number: from.uint(),
  reason: from.str(),
  cause: from.str(),
}));
SHAPES[Type.Left] = exactly(2, (from) => ({ type: Type.Left, client: from.uint(), namespace: from.str() }));
SHAPES[Type.Upgraded] = exactly(2, (from) => ({ type: Type.Upgraded, client: from.uint(), transport: from.str() }));
SHAPES[Type.Moved] = exactly(4, (from) => ({
  type: Type.Moved,
  client: from.uint(),
  namespace: from.str(),
  joined: from.bool(),
  rooms: from.strs(),
}));
SHAPES[Type.Asked] = exactly(2, (from) => ({ type: Type.Asked, ref: from.uint(), count: from.uint() }));
SHAPES[Type.Answer] = exactly(3, (from) => ({
  type: Type.Answer,
  ref: from.uint(),
  sender: from.str(),
  payload: from.bin(),
}));
SHAPES[Type.Done] = {
  min: 2,
  max: 3,
  read: (from, fields) => ({
    type: Type.Done,
    ref: from.uint(),
    count: from.uint(),
    missing: fields > 2 ? from.strs() : [],
  }),
};
SHAPES[Type.Failed] = exactly(4, (from) => ({
  type: Type.Failed,
  ref: from.uint(),
  number: from.uint(),
  reason: from.str(),
  message: from.str(),
}));
SHAPES[Type.Sockets] = { min: 3, max: 4, read: sockets };
SHAPES[Type.Query] = exactly(3, (from) => ({
  type: Type.Query,
  ref: from.uint(),
  namespace: from.str(),
  sockets: from.strs(),
}));
SHAPES[Type.Data] = exactly(3, data);
SHAPES[Type.Told] = exactly(4, (from) => ({
  type: Type.Told,
  ref: from.uint(),
  sender: from.str(),
  namespace: from.str(),
  payload: from.bin(),
}));
SHAPES[Type.Servers] = exactly(2, (from) => ({
  type: Type.Servers,
  ref: from.uint(),
  rows: rows(from, 4, serverRow),
}));
SHAPES[Type.Nodes] = exactly(2, (from) => ({
  type: Type.Nodes,
  version: from.uint(),
  rows: rows(from, 5, nodeRow),
}));
SHAPES[Type.Recover] = exactly(6, (from) => ({
  type: Type.Recover,
  client: from.uint(),
  namespace: from.str(),
  packet: from.bin(),
  sid: from.str(),
  rooms: from.strs(),
  data: from.bin(),
}));
SHAPES[Type.Parked] = exactly(2, (from) => ({ type: Type.Parked, client: from.uint(), cause: from.str() }));
SHAPES[Type.Back] = exactly(4, (from) => ({
  type: Type.Back,
  client: from.uint(),
  namespace: from.str(),
  sid: from.str(),
  was: from.uint(),
}));
SHAPES[Type.Freeze] = exactly(1, (from) => ({ type: Type.Freeze, client: from.uint() }));
SHAPES[Type.Adopt] = exactly(6, (from) => ({
  type: Type.Adopt,
  client: from.uint(),
  id: from.str(),
  user: from.strOrNil(),
  handshake: from.bin(),
  transport: from.str(),
  sockets: rows(from, 5, arriving),
}));
SHAPES[Type.Released] = exactly(1, (from) => ({ type: Type.Released, client: from.uint() }));
SHAPES[Type.Resume] = exactly(1, (from) => ({ type: Type.Resume, client: from.uint() }));
SHAPES[Type.Trace] = {
  min: 3,
  max: 4,
  read: (from, fields) => ({ type: Type.Trace, ref: from.uint(), client: from.uint(), parent: from.str(), state: fields > 3 ? from.str() : "" }),
};
SHAPES[Type.Drain] = {
  min: 0,
  max: 1,
  read: (from, fields) => ({ type: Type.Drain, seconds: fields > 0 ? seconds(from) : 0 }),
};

function hello(from: Reader, fields: number): ServiceHello {
  return {
    type: Type.Hello,
    revision: from.uint(),
    service: from.str(),
    session: from.str(),
    resumed: from.bool(),
    received: from.uint(),
    window: size(from),
    maxBatch: size(from),
    keepalive: from.uint(),
    grace: from.uint(),
    hub: from.str(),
    node: from.str(),
    maxPayload: fields > 11 ? from.uint() : 0,
    recovery: fields > 12 ? from.uint() : 0,
    keeps: fields > 13 ? from.bool() : false,
  };
}

function sockets(from: Reader, fields: number): Sockets {
  const ref = from.uint();
  const servers = from.strs();
  const listed = rowsOf(from, servers.length);
  return { type: Type.Sockets, ref, servers, rows: listed, headers: fields > 3 ? rows(from, 2, headers) : [] };
}

function headers(from: Reader): Headers {
  return { number: from.uint(), headers: from.bin() };
}

function serverRow(from: Reader): ServerRow {
  return { id: from.str(), dialect: from.str(), up: from.bool(), clients: from.uint() };
}

function nodeRow(from: Reader): NodeRow {
  return { id: from.str(), name: from.str(), url: from.str(), region: from.str(), cover: from.bool() };
}

function arriving(from: Reader): Arriving {
  return { namespace: from.str(), sid: from.str(), rooms: from.strs(), data: from.bin(), acks: from.uint() };
}

function data(from: Reader): Data {
  return { type: Type.Data, ref: from.uint(), server: from.str(), chunks: rows(from, 2, chunk) };
}

function chunk(from: Reader): Chunk {
  return { count: from.uint(), facts: from.bin() };
}

/** Later revisions append elements to rows, as to frames. */
function rows<T>(from: Reader, fields: number, read: (from: Reader) => T): T[] {
  const found: T[] = [];
  for (let left = from.array(); left > 0; left -= 1) {
    const length = from.array();
    if (length < fields) throw badFrame(`a row with ${length} elements instead of ${fields}`);
    found.push(read(from));
    from.skip(length - fields);
  }
  return found;
}

/** With a window or a largest batch of 0, nothing could ever be sent. */
function size(from: Reader): number {
  const value = from.uint();
  if (value === 0) throw badFrame("a size of 0");
  return value;
}

function seconds(from: Reader): number {
  const value = from.float();
  if (!(value >= 0 && value <= MAX_SECONDS)) throw badFrame("an invalid number of seconds");
  return value;
}
