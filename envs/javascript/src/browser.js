// The package in a browser, or wherever there is a WebSocket as browsers have it.

import { browserSockets } from "./browser_socket.js";
import { Client } from "./client.js";

export * from "./exports.js";

export class TrainerClient extends Client {
  /**
   * @param {string} address
   * @param {readonly import("../types/index.js").BehaviourSpec[]} behaviours
   * @param {import("../types/index.js").ClientOptions} options
   */
  constructor(address, behaviours, options = { simulator: "" }) {
    super(address, behaviours, options, browserSockets(address, options));
  }
}
