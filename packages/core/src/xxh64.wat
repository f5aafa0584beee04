;; XXH64, and jump consistent hashing, on 64-bit integers, which JavaScript has not.
;; `pnpm --filter @ringway/core wasm` writes xxh64-module.ts from this.
(module
  ;; The bytes to hash, from address 0. Grows to the longest text.
  (memory (export "memory") 1)
  ;; The last hash.
  (global $hash (mut i64) (i64.const 0))

  ;; The step of the specification for 8 bytes: rotl(lane + bytes * P2, 31) * P1
  (func $round (param $lane i64) (param $bytes i64) (result i64)
    (i64.mul
      (i64.rotl
        (i64.add (local.get $lane) (i64.mul (local.get $bytes) (i64.const 0xc2b2ae3d27d4eb4f)))
        (i64.const 31))
      (i64.const 0x9e3779b185ebca87)))

  ;; What takes a lane, or 8 bytes on their way, into the hash: (hash ^ round) * P1 + P4, the first part turned by `turn`
  (func $take (param $hash i64) (param $rounded i64) (param $turn i64) (result i64)
    (i64.add
      (i64.mul
        (i64.rotl (i64.xor (local.get $hash) (local.get $rounded)) (local.get $turn))
        (i64.const 0x9e3779b185ebca87))
      (i64.const 0x85ebca77c2b2ae63)))

  ;; XXH64 of the first `length` bytes. Returns the upper half; $low and $remainder give the rest.
  (func (export "hash") (param $length i32) (param $seed i32) (result i32)
    (local $h i64) (local $s i64) (local $at i32)
    (local $a i64) (local $b i64) (local $c i64) (local $d i64)
    (local.set $s (i64.extend_i32_u (local.get $seed)))
    (if (i32.lt_u (local.get $length) (i32.const 32))
      (then (local.set $h (i64.add (local.get $s) (i64.const 0x27d4eb2f165667c5))))
      (else
        ;; Whole stripes of 32 bytes, eight to each of four lanes, which begin at seed + P1 + P2, + P2, + 0 and - P1.
        (local.set $a (i64.add (local.get $s) (i64.const 0x60ea27eeadc0b5d6)))
        (local.set $b (i64.add (local.get $s) (i64.const 0xc2b2ae3d27d4eb4f)))
        (local.set $c (local.get $s))
        (local.set $d (i64.sub (local.get $s) (i64.const 0x9e3779b185ebca87)))
        (loop $stripe
          (local.set $a (call $round (local.get $a) (i64.load (local.get $at))))
          (local.set $b (call $round (local.get $b) (i64.load offset=8 (local.get $at))))
          (local.set $c (call $round (local.get $c) (i64.load offset=16 (local.get $at))))
          (local.set $d (call $round (local.get $d) (i64.load offset=24 (local.get $at))))
          (local.set $at (i32.add (local.get $at) (i32.const 32)))
          (br_if $stripe (i32.le_u (i32.add (local.get $at) (i32.const 32)) (local.get $length))))
        (local.set $h (i64.add
          (i64.add (i64.rotl (local.get $a) (i64.const 1)) (i64.rotl (local.get $b) (i64.const 7)))
          (i64.add (i64.rotl (local.get $c) (i64.const 12)) (i64.rotl (local.get $d) (i64.const 18)))))
        (local.set $h (call $take (local.get $h) (call $round (i64.const 0) (local.get $a)) (i64.const 0)))
        (local.set $h (call $take (local.get $h) (call $round (i64.const 0) (local.get $b)) (i64.const 0)))
        (local.set $h (call $take (local.get $h) (call $round (i64.const 0) (local.get $c)) (i64.const 0)))
        (local.set $h (call $take (local.get $h) (call $round (i64.const 0) (local.get $d)) (i64.const 0)))))
    (local.set $h (i64.add (local.get $h) (i64.extend_i32_u (local.get $length))))

    ;; What is left, by 8, 4 and 1.
    (block $done8 (loop $next8
      (br_if $done8 (i32.gt_u (i32.add (local.get $at) (i32.const 8)) (local.get $length)))
      (local.set $h
        (call $take (local.get $h) (call $round (i64.const 0) (i64.load (local.get $at))) (i64.const 27)))
      (local.set $at (i32.add (local.get $at) (i32.const 8)))
      (br $next8)))
    (if (i32.le_u (i32.add (local.get $at) (i32.const 4)) (local.get $length))
      (then
        ;; rotl(hash ^ bytes * P1, 23) * P2 + P3
        (local.set $h (i64.add
          (i64.mul
            (i64.rotl
              (i64.xor (local.get $h)
                (i64.mul (i64.load32_u (local.get $at)) (i64.const 0x9e3779b185ebca87)))
              (i64.const 23))
            (i64.const 0xc2b2ae3d27d4eb4f))
          (i64.const 0x165667b19e3779f9)))
        (local.set $at (i32.add (local.get $at) (i32.const 4)))))
    (block $done1 (loop $next1
      (br_if $done1 (i32.ge_u (local.get $at) (local.get $length)))
      ;; rotl(hash ^ byte * P5, 11) * P1
      (local.set $h (i64.mul
        (i64.rotl
          (i64.xor (local.get $h)
            (i64.mul (i64.load8_u (local.get $at)) (i64.const 0x27d4eb2f165667c5)))
          (i64.const 11))
        (i64.const 0x9e3779b185ebca87)))
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (br $next1)))

    ;; The avalanche: each bit of the result depends on all bits so far.
    (local.set $h (i64.mul
      (i64.xor (local.get $h) (i64.shr_u (local.get $h) (i64.const 33)))
      (i64.const 0xc2b2ae3d27d4eb4f)))
    (local.set $h (i64.mul
      (i64.xor (local.get $h) (i64.shr_u (local.get $h) (i64.const 29)))
      (i64.const 0x165667b19e3779f9)))
    (global.set $hash (i64.xor (local.get $h) (i64.shr_u (local.get $h) (i64.const 32))))
    (i32.wrap_i64 (i64.shr_u (global.get $hash) (i64.const 32))))

  ;; The lower half of the last hash.
  (func (export "low") (result i32)
    (i32.wrap_i64 (global.get $hash)))

  ;; The last hash modulo a divisor.
  (func (export "remainder") (param $divisor i32) (result i32)
    (i32.wrap_i64 (i64.rem_u (global.get $hash) (i64.extend_i32_u (local.get $divisor)))))

  ;; Jump consistent hashing of a 64-bit key: figure 1 of the paper by Lamping and Veach.
  (func (export "jump") (param $high i32) (param $low i32) (param $buckets i32) (result i32)
    (local $key i64) (local $bucket i64) (local $next i64)
    (local.set $key (i64.or
      (i64.shl (i64.extend_i32_u (local.get $high)) (i64.const 32))
      (i64.extend_i32_u (local.get $low))))
    (loop $step
      (local.set $bucket (local.get $next))
      (local.set $key (i64.add
        (i64.mul (local.get $key) (i64.const 2862933555777941757))
        (i64.const 1)))
      ;; (bucket + 1) * (2^31 / ((key >> 33) + 1))
      (local.set $next (i64.trunc_f64_s (f64.mul
        (f64.convert_i64_s (i64.add (local.get $bucket) (i64.const 1)))
        (f64.div
          (f64.const 0x1p31)
          (f64.convert_i64_s (i64.add (i64.shr_u (local.get $key) (i64.const 33)) (i64.const 1)))))))
      (br_if $step (i64.lt_s (local.get $next) (i64.extend_i32_u (local.get $buckets)))))
    (i32.wrap_i64 (local.get $bucket))))
