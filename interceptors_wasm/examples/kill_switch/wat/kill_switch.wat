;; kill_switch: denies every tool call, and every result, that its binding matches. For emergencies: drop it into the
;; bundle with `order = 0` and `tools = ["payments/*"]`, or `["*/*"]` to stop everything. It takes no configuration,
;; looks at nothing, and so cannot be talked out of it; a deny of its own stands whatever `on_error` says.
(module
  (memory (export "memory") 1)

  ;; The answer: 112 bytes at address 0.
  (data (i32.const 0) "{\"verdict\":\"deny\",\"message\":\"tool calls are stopped by the operator: do not retry\",\"reason\":\"kill switch is on\"}")

  ;; Says "ABI version 1" by being there.
  (func (export "pdp_abi_v1"))

  ;; A place for the request: as many new pages of 64 KiB as it takes; 0 if the host gives no more. The request is never
  ;; read, but to refuse it would be a failure, and `on_error` might let those pass.
  (func (export "pdp_alloc") (param $len i32) (result i32)
    (local $pages i32)
    (local.set $pages
      (memory.grow (i32.shr_u (i32.add (local.get $len) (i32.const 65535)) (i32.const 16))))
    (select
      (i32.shl (local.get $pages) (i32.const 16))
      (i32.const 0)
      (i32.ne (local.get $pages) (i32.const -1))))

  ;; Both hooks give the same answer: address 0 in the upper 32 bits, the length in the lower.
  (func (export "pdp_on_request") (export "pdp_on_response") (param i32 i32) (result i64)
    (i64.const 112)))
