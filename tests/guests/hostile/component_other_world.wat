;; load: load; call: -
;; says: `describe`
;; Exports another function.
(component
  (core module $m
    (memory (export "memory") 2)
    (global $next (mut i32) (i32.const 4096))
    (data (i32.const 16) "\40\00\00\00\27\00\00\00")
    (data (i32.const 64) "{\22v\22:1,\22phases\22:[\22request\22,\22response\22]}")
    (data (i32.const 32) "\00\00\00\00\00\02\00\00\12\00\00\00")
    (data (i32.const 512) "{\22verdict\22:\22pass\22}")
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      (global.get $next)
      (global.set $next (i32.add (global.get $next) (i32.and (i32.add (local.get 3) (i32.const 7)) (i32.const -8)))))
    (func (export "describe") (result i32) (i32.const 16))
    (func (export "on-request") (param i32 i32) (result i32) (i32.const 32))
    (func (export "on-response") (param i32 i32) (result i32) (i32.const 32)))
  (core instance $i (instantiate $m))
  (func (export "run") (result string) (canon lift (core func $i "describe")
    (memory (core memory $i "memory")) (realloc (core func $i "realloc")))))
