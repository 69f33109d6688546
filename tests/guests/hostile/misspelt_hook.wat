;; load: load; call: -
;; says: it exports `pdp_on_reqest`, which the ABI does not know; did you mean `pdp_on_request`?
(module (memory (export "memory") 2) (func (export "pdp_abi_v1"))
  (func (export "pdp_alloc") (param i32) (result i32) (i32.const 1024))
  (data (i32.const 16) "{\"verdict\":\"pass\"}")
  (func (export "pdp_on_reqest") (param i32 i32) (result i64) (unreachable))
  (func (export "pdp_on_response") (param i32 i32) (result i64)
    (i64.or (i64.shl (i64.const 16) (i64.const 32)) (i64.const 18))))
