export { guardClient, guardServer } from "./guard.js";
export type { GuardedRequest, GuardOptions } from "./decisions.js";
