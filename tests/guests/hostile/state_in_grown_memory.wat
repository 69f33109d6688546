;; load: ok; call: pass
;; Traps if grown memory is not zero, or its memory was not given back.
(module
  (memory (export "memory") 1)
  (data (i32.const 1024) "{\22verdict\22:\22pass\22}")
  (func (export "pdp_abi_v1"))
  (func (export "pdp_alloc") (param $len i32) (result i32) (i32.const 4096))
  (func (export "pdp_on_request") (param $ptr i32) (param $len i32) (result i64)
    (if (i32.ge_u (local.get $len) (i32.const 1000)) (then
      (if (i32.ne (memory.grow (i32.const 100)) (i32.const 1)) (then (unreachable)))
      (loop
        (local.set $ptr (i32.add (local.get $ptr) (i32.const 4096)))
        (if (i32.load (i32.add (i32.const 65536) (local.get $ptr))) (then (unreachable)))
        (i32.store (i32.add (i32.const 65536) (local.get $ptr)) (i32.const -1))
        (br_if 0 (i32.lt_u (local.get $ptr) (i32.const 6000000))))))
    (i64.const 4398046511122)))
