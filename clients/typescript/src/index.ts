export * from "./client.js";
export * from "./gen/pdp/v1/admin_service_pb.js";
export * from "./gen/pdp/v1/decision_pb.js";
export * from "./gen/pdp/v1/decision_service_pb.js";
export * from "./gen/pdp/v1/interceptor_pb.js";
