// The package in Node. What a trainer tells the simulators that it launches stands in variables.

import { Client } from "./client.js";
import { OptionError } from "./errors.js";
import { nodeSockets } from "./node_socket.js";

export * from "./exports.js";
export { runProgram } from "./program.js";

export class TrainerClient extends Client {
  /**
   * @param {string} address
   * @param {readonly import("../types/index.js").BehaviourSpec[]} behaviours
   * @param {import("../types/index.js").ClientOptions} options
   */
  constructor(address, behaviours, options = { simulator: "" }) {
    const complete = { ...usual(address, options), ...options };
    super(address, behaviours, complete, nodeSockets(address, complete));
  }
}

/** What the variables say, where the options say nothing.
 * @param {string} address @param {import("../types/index.js").ClientOptions} options */
function usual(address, options) {
  const { ENTRAIN_TOKEN_FILE: tokenFile, ENTRAIN_TLS_CA: tlsCa, ENTRAIN_ROLE } = process.env;
  const role = /** @type {typeof options.role} */ (ENTRAIN_ROLE);
  return {
    reconnectS: usualReconnectS(),
    ...(role ? { role } : {}),
    ...(tokenFile && options.token === undefined ? { tokenFile } : {}),
    ...(tlsCa && !address?.startsWith("ws://") ? { tlsCa } : {}),
  };
}

function usualReconnectS() {
  const text = process.env.ENTRAIN_RECONNECT_S || "60";
  if (!(Number(text) >= 0)) {
    throw new OptionError(`$ENTRAIN_RECONNECT_S is '${text}'; it must be a number of seconds`);
  }
  return Number(text);
}
