//! The Rust SDK for interceptors, ABI version 1. One file, no dependencies, rustc 1.63 or newer.
//!
//! Lay it beside your `lib.rs`, say `mod pdp_interceptor;` there, implement [`Interceptor`], and end with
//! `interceptor!(YourType: request, response);`, or with one of the two phases.
//! It hides pointers, reads and writes JSON without changing what you do not touch, and brings an allocator.

#![deny(unsafe_op_in_unsafe_fn)]
#![allow(dead_code)] // An interceptor rarely needs all of it.

use std::borrow::Cow;
use std::cell::UnsafeCell;

// ---------------------------------------------------------------------------------------------------- what you write

/// What an interceptor does. Implement the hooks of the phases that you name in `interceptor!`.
///
/// An `Err` ends the call as a failure of the interceptor, with its text for the operator. So does a panic, without one.
pub trait Interceptor: Sized {
    /// Reads the configuration of the binding, a JSON object. An `Err` should name the key that is wrong.
    fn configure(config: Json<'static>) -> Result<Self, String>;

    /// Looks at a tool call before it is made.
    fn on_request(&self, _call: &Call<'static>) -> Result<Reply, String> {
        Err("this interceptor does not look at requests".into())
    }

    /// Looks at the result of a tool call.
    fn on_response(&self, _call: &Call<'static>) -> Result<Reply, String> {
        Err("this interceptor does not look at results".into())
    }
}

/// One tool call, and in the phase `response` its result.
pub struct Call<'a> {
    pub server: Cow<'a, str>,
    pub tool: Cow<'a, str>,
    /// A JSON object.
    pub arguments: Json<'a>,
    /// Any JSON value, `null` in the phase `request`.
    pub result: Json<'a>,
    pub result_is_error: bool,
    /// The whole request, for the rest: `call.request.get("subject")`.
    pub request: Json<'a>,
}

/// The answer of a hook.
pub struct Reply {
    members: String,
    annotations: String,
}

impl Reply {
    /// The payload may go on as it is.
    pub fn pass() -> Reply {
        Reply::with("{\"verdict\":\"pass\"".into())
    }

    /// The call ends here. The agent may see `message`, so it should help and hold no secrets.
    pub fn deny(message: &str) -> Reply {
        Reply::with("{\"verdict\":\"deny\",\"message\":".to_string() + &quote(message))
    }

    /// The call goes on with other arguments: the text of a JSON object. Only in the phase `request`.
    pub fn transform_arguments(arguments: &str) -> Reply {
        Reply::with("{\"verdict\":\"transform\",\"arguments\":".to_string() + arguments)
    }

    /// The agent gets another result: the text of any JSON value. Only in the phase `response`.
    pub fn transform_result(result: &str) -> Reply {
        Reply::with("{\"verdict\":\"transform\",\"result\":".to_string() + result)
    }

    /// Says why, for the operator's log.
    pub fn reason(mut self, reason: &str) -> Reply {
        self.members += ",\"reason\":";
        self.members += &quote(reason);
        self
    }

    /// States a fact for Cedar policies. `value` is the text of a JSON value, as in `"70"`, `"true"` or `quote("x")`.
    pub fn annotation(mut self, name: &str, value: &str) -> Reply {
        self.annotations += if self.annotations.is_empty() { "" } else { "," };
        self.annotations += &(quote(name) + ":" + value);
        self
    }

    fn with(members: String) -> Reply {
        Reply { members, annotations: String::new() }
    }

    fn into_json(self) -> String {
        let mut json = self.members;
        if !self.annotations.is_empty() {
            json += &(",\"annotations\":{".to_string() + &self.annotations + "}");
        }
        json + "}"
    }
}

// --------------------------------------------------------------------------------------------------------------- JSON

/// One well-formed JSON value, held as the text that it came as, so that numbers and spacing stay what they were.
#[derive(Clone, Copy)]
pub struct Json<'a>(&'a str);

impl<'a> Json<'a> {
    /// Checks that `text` is one JSON value, nested as deeply as it may be.
    pub fn parse(text: &'a str) -> Option<Json<'a>> {
        let (start, end) = (skip_space(text.as_bytes(), 0), value_end(text.as_bytes(), 0)?);
        (skip_space(text.as_bytes(), end) == text.len()).then(|| Json(&text[start..end]))
    }

    /// The same for one or more values one after the other, as in JSON lines; for `rewrite`.
    pub fn parse_sequence(text: &'a str) -> Option<Json<'a>> {
        let bytes = text.as_bytes();
        let mut at = value_end(bytes, 0)?;
        while skip_space(bytes, at) < bytes.len() {
            at = value_end(bytes, at)?;
        }
        Some(Json(text))
    }

    pub fn text(self) -> &'a str {
        self.0
    }

    pub fn is_null(self) -> bool {
        self.0 == "null"
    }

    pub fn is_object(self) -> bool {
        self.0.starts_with('{')
    }

    pub fn is_array(self) -> bool {
        self.0.starts_with('[')
    }

    /// `true` or `false`, or nothing where it is neither.
    pub fn bool(self) -> Option<bool> {
        self.0.parse().ok()
    }

    /// The text of a string without its escapes, or nothing where it is no string.
    pub fn str(self) -> Option<Cow<'a, str>> {
        let inner = self.0.strip_prefix('"')?.strip_suffix('"')?;
        Some(if has_escape(inner) { Cow::Owned(unescape(inner)) } else { Cow::Borrowed(inner) })
    }

    /// Is it the string `text`, however it is escaped?
    pub fn is(self, text: &str) -> bool {
        match self.0.get(1..self.0.len() - 1) {
            Some(inner) if has_escape(inner) => self.str().as_deref() == Some(text),
            inner => inner == Some(text) && self.0.starts_with('"'),
        }
    }

    /// The value of an object's member.
    pub fn get(self, name: &str) -> Option<Json<'a>> {
        self.members().find(|(key, _)| key.is(name)).map(|(_, value)| value)
    }

    /// Names, which are strings, and values of an object's members. None where it is no object.
    pub fn members(self) -> impl Iterator<Item = (Json<'a>, Json<'a>)> {
        let mut parts = Parts::of(self, '{');
        std::iter::from_fn(move || Some((parts.next()?, parts.next()?)))
    }

    /// The items of an array. None where it is no array.
    pub fn items(self) -> impl Iterator<Item = Json<'a>> {
        Parts::of(self, '[')
    }

    /// Shows every name, string, number and literal in it, at any depth, to `edit`, which may answer with other JSON
    /// text for it. Returns the new text, or nothing where all stays as it is. Whatever is not edited stays as it was.
    pub fn rewrite(self, edit: &mut dyn FnMut(Scalar<'a>) -> Option<String>) -> Option<String> {
        let bytes = self.0.as_bytes();
        let (mut at, mut copied, mut out) = (0, 0, String::new());
        let mut member = None; // The name that the next value belongs to.
        while at < bytes.len() {
            let end = match bytes[at] {
                b':' | b' ' | b'\t' | b'\n' | b'\r' => {
                    at += 1;
                    continue;
                }
                b'{' | b'}' | b'[' | b']' | b',' => {
                    member = None;
                    at += 1;
                    continue;
                }
                _ => scalar_end(bytes, at),
            };
            let value = Json(&self.0[at..end]);
            let is_name = bytes.get(skip_space(bytes, end)) == Some(&b':');
            let scalar = Scalar { value, is_name, member, behind: &self.0[end..] };
            if let Some(text) = edit(scalar) {
                if copied == 0 {
                    out.reserve(bytes.len() + 256); // Once, since the allocator seldom gets anything back.
                }
                out += &self.0[copied..at];
                out += &text;
                copied = end;
            }
            member = if is_name { Some(value) } else { None };
            at = end;
        }
        if copied == 0 {
            return None;
        }
        Some(out + &self.0[copied..])
    }
}

/// What `rewrite` shows: a string, a number or a literal.
#[derive(Clone, Copy)]
pub struct Scalar<'a> {
    pub value: Json<'a>,
    /// Is it the name of a member, and not a value?
    pub is_name: bool,
    /// The name of the member that it is the value of.
    pub member: Option<Json<'a>>,
    behind: &'a str,
}

impl<'a> Scalar<'a> {
    /// The name and the value of the member that follows in the same object.
    pub fn next_member(&self) -> Option<(Json<'a>, Json<'a>)> {
        let at = skip_space(self.behind.as_bytes(), 0);
        let mut parts = Parts { text: self.behind, at };
        let (name, value) = (self.behind[at..].starts_with(',').then(|| parts.next())??, parts.next()?);
        self.member.map(|_| (name, value))
    }
}

/// `text` as a JSON string, with its quotes.
pub fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    out.push('"');
    let mut rest = text;
    loop {
        let run = plain_run(rest.as_bytes());
        out += &rest[..run];
        let escaped = match rest.as_bytes().get(run) {
            None => break,
            Some(byte) => *byte,
        };
        match escaped {
            b'\n' => out += "\\n",
            b'"' => out += "\\\"",
            b'\\' => out += "\\\\",
            control => {
                out += if control < 16 { "\\u000" } else { "\\u001" };
                out.push(char::from(b"0123456789abcdef"[usize::from(control & 15)]));
            }
        }
        rest = &rest[run + 1..];
    }
    out.push('"');
    out
}

fn skip_space(text: &[u8], mut at: usize) -> usize {
    while matches!(text.get(at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
        at += 1;
    }
    at
}

/// Where the value ends that begins at `at`, or nothing where that is not JSON. Keeps its own stack, so that depth
/// costs memory and cannot overflow anything.
fn value_end(text: &[u8], mut at: usize) -> Option<usize> {
    let mut closers: Vec<u8> = Vec::new();
    loop {
        at = skip_space(text, at);
        let closer = match text.get(at)? {
            b'{' => b'}',
            b'[' => b']',
            _ => 0,
        };
        if closer == 0 {
            at = checked_scalar_end(text, at)?;
        } else {
            at = skip_space(text, at + 1);
            if *text.get(at)? != closer {
                closers.push(closer);
                at = if closer == b'}' { member_value(text, at)? } else { at };
                continue;
            }
            at += 1;
        }
        // A value is complete. Close what ends with it, up to a comma.
        loop {
            let closer = match closers.last() {
                None => return Some(at),
                Some(closer) => *closer,
            };
            at = skip_space(text, at) + 1;
            match *text.get(at - 1)? {
                byte if byte == closer => closers.pop(),
                b',' if closer == b'}' => {
                    at = member_value(text, at)?;
                    break;
                }
                b',' => break,
                _ => return None,
            };
        }
    }
}

/// Where the value begins whose member's name begins at `at`.
fn member_value(text: &[u8], at: usize) -> Option<usize> {
    let at = skip_space(text, at);
    if text.get(at) != Some(&b'"') {
        return None;
    }
    let at = skip_space(text, checked_scalar_end(text, at)?);
    (text.get(at) == Some(&b':')).then_some(at + 1)
}

fn checked_scalar_end(text: &[u8], at: usize) -> Option<usize> {
    if text.get(at) == Some(&b'"') {
        return checked_string_end(text, at + 1);
    }
    let end = scalar_end(text, at);
    let scalar = text.get(at..end)?;
    (matches!(scalar, b"true" | b"false" | b"null") || is_number(scalar)).then_some(end)
}

/// The same for a string, from behind its opening quote on.
fn checked_string_end(text: &[u8], mut at: usize) -> Option<usize> {
    loop {
        at += plain_run(text.get(at..)?);
        at += match text.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => match text.get(at + 1)? {
                b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => 2,
                b'u' if hex4(text, at + 2).is_some() => 6,
                _ => return None,
            },
            _ => return None, // A control character.
        };
    }
}

/// Where the string, number or literal ends that begins at `at`, in well-formed text.
fn scalar_end(text: &[u8], mut at: usize) -> usize {
    if text.get(at) != Some(&b'"') {
        let rest = text[at..].iter();
        return at + rest.take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.')).count().max(1);
    }
    at += 1;
    while let Some(rest) = text.get(at..) {
        at += plain_run(rest);
        if text.get(at) == Some(&b'"') {
            return at + 1;
        }
        at += 2; // An escape.
    }
    text.len()
}

/// How many bytes stand before the first quote, backslash or control character. Most of JSON is such runs, so it takes
/// eight bytes at once: `below` marks the bytes of a word that are less than `limit`, the lowest of them exactly.
fn plain_run(text: &[u8]) -> usize {
    const ONES: u64 = u64::MAX / 255;
    let below = |word: u64, limit: u64| word.wrapping_sub(ONES * limit) & !word & (ONES << 7);
    let mut words = text.chunks_exact(8);
    for (index, chunk) in words.by_ref().enumerate() {
        let word = u64::from_le_bytes(chunk.try_into().unwrap_or_default());
        let found = below(word, 0x20) | below(word ^ (ONES * 0x22), 1) | below(word ^ (ONES * 0x5C), 1);
        if found != 0 {
            return index * 8 + found.trailing_zeros() as usize / 8;
        }
    }
    let rest = words.remainder();
    let run = rest.iter().position(|byte| *byte < 0x20 || matches!(byte, b'"' | b'\\'));
    text.len() - rest.len() + run.unwrap_or(rest.len())
}

fn is_number(text: &[u8]) -> bool {
    let text = text.strip_prefix(b"-").unwrap_or(text);
    let digits = |text: &[u8]| text.iter().take_while(|b| b.is_ascii_digit()).count();
    let whole = digits(text);
    let (mut rest, mut good) = (&text[whole..], whole > 0 && (whole == 1 || text[0] != b'0'));
    if let [b'.', fraction @ ..] = rest {
        good &= digits(fraction) > 0;
        rest = &fraction[digits(fraction)..];
    }
    if let [b'e' | b'E', b'+' | b'-', exponent @ ..] | [b'e' | b'E', exponent @ ..] = rest {
        good &= digits(exponent) > 0;
        rest = &exponent[digits(exponent)..];
    }
    good && rest.is_empty()
}

fn hex4(text: &[u8], at: usize) -> Option<u32> {
    let digits = text.get(at..at + 4)?.iter();
    digits.map(|b| char::from(*b).to_digit(16)).try_fold(0, |sum, digit| Some(sum * 16 + digit?))
}

fn has_escape(inner: &str) -> bool {
    plain_run(inner.as_bytes()) < inner.len()
}

/// A lone surrogate, which the host lets through nowhere but in JSON inside of a string, becomes U+FFFD.
fn unescape(inner: &str) -> String {
    let mut out = String::with_capacity(inner.len());
    let mut rest = inner;
    loop {
        let run = plain_run(rest.as_bytes());
        out += &rest[..run];
        let escape = match rest.as_bytes().get(run + 1) {
            None => return out,
            Some(escape) => *escape,
        };
        let mut used = run + 2;
        out.push(match escape {
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let (point, length) = unescape_point(&rest.as_bytes()[used..]);
                used += length;
                point
            }
            other => char::from(other),
        });
        rest = &rest[used..];
    }
}

/// The character of `XXXX`, or of the pair `XXXX\uXXXX`, and how long that was.
fn unescape_point(text: &[u8]) -> (char, usize) {
    let (high, low) = (hex4(text, 0).unwrap_or(0xFFFD), hex4(text, 6).unwrap_or(0));
    let is_pair = (0xD800..0xDC00).contains(&high) && (0xDC00..0xE000).contains(&low) && text[4..].starts_with(b"\\u");
    let (point, length) = if is_pair { (0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00), 10) } else { (high, 4) };
    (char::from_u32(point).unwrap_or('\u{FFFD}'), length)
}

/// The values right inside of an object, names included, or of an array.
struct Parts<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Parts<'a> {
    fn of(json: Json<'a>, opener: char) -> Parts<'a> {
        let text = json.0.strip_prefix(opener).unwrap_or("");
        Parts { text: text.get(..text.len().saturating_sub(1)).unwrap_or(""), at: 0 }
    }
}

impl<'a> Iterator for Parts<'a> {
    type Item = Json<'a>;

    fn next(&mut self) -> Option<Json<'a>> {
        let bytes = self.text.as_bytes();
        while matches!(bytes.get(self.at), Some(b' ' | b'\t' | b'\n' | b'\r' | b',' | b':')) {
            self.at += 1;
        }
        let (start, mut depth) = (self.at, 0);
        loop {
            match bytes.get(self.at)? {
                b'{' | b'[' => (depth, self.at) = (depth + 1, self.at + 1),
                b'}' | b']' => (depth, self.at) = (depth - 1, self.at + 1),
                b' ' | b'\t' | b'\n' | b'\r' | b',' | b':' => self.at += 1,
                _ => self.at = scalar_end(bytes, self.at),
            }
            if depth == 0 {
                return Some(Json(&self.text[start..self.at]));
            }
        }
    }
}

// --------------------------------------------------------------------------------------------------- what the host has

/// What the binding may grant. An interceptor that calls none of these imports nothing.
pub mod host {
    #[link(wasm_import_module = "pdp")]
    extern "C" {
        #[link_name = "log"]
        fn pdp_log(level: i32, text: *const u8, len: usize);
        #[link_name = "now_ms"]
        fn pdp_now_ms() -> i64;
        #[link_name = "random"]
        fn pdp_random(place: *mut u8, len: usize) -> i32;
    }

    /// Writes to the service's log; needs the grant `log`. Level 0 is debug, 1 info, 2 warning, 3 error.
    pub fn log(level: i32, text: &str) {
        unsafe { pdp_log(level, text.as_ptr(), text.len()) }
    }

    /// Unix time in milliseconds; needs the grant `now_ms`.
    pub fn now_ms() -> i64 {
        unsafe { pdp_now_ms() }
    }

    /// Fills `place`, of at most 64 KiB, with random bytes; needs the grant `random`.
    pub fn random(place: &mut [u8]) -> Result<(), String> {
        match unsafe { pdp_random(place.as_mut_ptr(), place.len()) } {
            0 => Ok(()),
            _ => Err("the host gave no random bytes".into()),
        }
    }
}

// ------------------------------------------------------------------------------------------- how the host comes in here

/// Exports `$type` to the host, with a hook for each phase: `interceptor!(Guard: request)`.
#[macro_export]
macro_rules! interceptor {
    ($type:ty: $($phase:ident),+) => {
        static CONFIGURED: $crate::pdp_interceptor::Slot<$type> = $crate::pdp_interceptor::Slot::empty();

        #[no_mangle]
        pub extern "C" fn pdp_abi_v1() {}

        #[no_mangle]
        pub extern "C" fn pdp_alloc(len: usize) -> *mut u8 {
            $crate::pdp_interceptor::input_place(len)
        }

        /// # Safety
        /// The host calls it with the place that it got from `pdp_alloc` and filled.
        #[no_mangle]
        pub unsafe extern "C" fn pdp_configure(place: *const u8, len: usize) -> u64 {
            $crate::pdp_interceptor::configure(&CONFIGURED, place, len)
        }

        $($crate::interceptor!(@hook $phase);)+
    };
    (@hook request) => {
        /// # Safety
        /// The host calls it with the place that it got from `pdp_alloc` and filled.
        #[no_mangle]
        pub unsafe extern "C" fn pdp_on_request(place: *const u8, len: usize) -> u64 {
            $crate::pdp_interceptor::answer(&CONFIGURED, place, len, |own, call| own.on_request(call))
        }
    };
    (@hook response) => {
        /// # Safety
        /// The host calls it with the place that it got from `pdp_alloc` and filled.
        #[no_mangle]
        pub unsafe extern "C" fn pdp_on_response(place: *const u8, len: usize) -> u64 {
            $crate::pdp_interceptor::answer(&CONFIGURED, place, len, |own, call| own.on_response(call))
        }
    };
}

/// Holds the configured interceptor between two calls of the host.
pub struct Slot<T>(UnsafeCell<Option<T>>);

// A module has one thread, and the host is never inside of it twice.
unsafe impl<T> Sync for Slot<T> {}

impl<T> Slot<T> {
    pub const fn empty() -> Slot<T> {
        Slot(UnsafeCell::new(None))
    }
}

#[doc(hidden)]
pub fn input_place(len: usize) -> *mut u8 {
    let mut place: Vec<u8> = Vec::new();
    match place.try_reserve_exact(len.max(1)) {
        Ok(()) => std::mem::ManuallyDrop::new(place).as_mut_ptr(),
        Err(_) => std::ptr::null_mut(), // There is no room: the host reports a failure of the class `memory`.
    }
}

#[doc(hidden)]
pub unsafe fn configure<T: Interceptor>(slot: &Slot<T>, place: *const u8, len: usize) -> u64 {
    let made = unsafe { input(place, len) }.and_then(T::configure);
    hand_over(made.map(|interceptor| {
        unsafe { *slot.0.get() = Some(interceptor) };
        "{\"ok\":true}".to_string()
    }))
}

#[doc(hidden)]
pub unsafe fn answer<T: Interceptor>(
    slot: &Slot<T>,
    place: *const u8,
    len: usize,
    hook: fn(&T, &Call<'static>) -> Result<Reply, String>,
) -> u64 {
    let own = unsafe { &*slot.0.get() }.as_ref().ok_or_else(|| "it was not configured".to_string());
    let call = unsafe { input(place, len) }.and_then(read_call);
    hand_over(own.and_then(|own| hook(own, &call?)).map(Reply::into_json))
}

/// The input is never freed, as the instance lives for one call only: so it is there for ever.
unsafe fn input(place: *const u8, len: usize) -> Result<Json<'static>, String> {
    let bytes: &'static [u8] = unsafe { std::slice::from_raw_parts(place, len) };
    let text = std::str::from_utf8(bytes).map_err(|_| "the input is not UTF-8".to_string())?;
    Json::parse(text).ok_or_else(|| "the input is not JSON".to_string())
}

fn read_call(request: Json<'static>) -> Result<Call<'static>, String> {
    let (none, mut call) = (Json("null"), Json("null"));
    let (mut result, mut result_is_error) = (none, false);
    for (name, value) in request.members() {
        match name.str().as_deref() {
            Some("tool_call") => call = value,
            Some("result") => result = value,
            Some("result_is_error") => result_is_error = value.bool().unwrap_or(true),
            _ => {} // Later minor versions add members.
        }
    }
    let (mut server, mut tool, mut arguments) = (none, none, none);
    for (name, value) in call.members() {
        match name.str().as_deref() {
            Some("server") => server = value,
            Some("tool") => tool = value,
            Some("arguments") => arguments = value,
            _ => {}
        }
    }
    match (server.str(), tool.str()) {
        (Some(server), Some(tool)) if arguments.is_object() => {
            Ok(Call { server, tool, arguments, result, result_is_error, request })
        }
        _ => Err("the request has no whole `tool_call`".into()),
    }
}

/// The address in the upper half, the length in the lower one.
fn hand_over(reply: Result<String, String>) -> u64 {
    let text = reply.unwrap_or_else(|error| "{\"error\":".to_string() + &quote(&error) + "}");
    let bytes = std::mem::ManuallyDrop::new(text);
    (bytes.as_ptr() as u64) << 32 | bytes.len() as u64
}

/// Hands out memory from the end of the module's own upwards, and takes back only the piece that it gave last: an
/// instance lives for one call, so there is nothing to tidy up, and nothing costs time.
#[cfg(target_arch = "wasm32")]
mod bump {
    use std::alloc::{GlobalAlloc, Layout};
    use std::arch::wasm32::{memory_grow, memory_size};
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    const PAGE: usize = 65536;

    extern "C" {
        static __heap_base: u8; // The linker's: where the module's own data end.
    }

    struct Bump {
        next: AtomicUsize, // 0 until the first piece.
    }

    #[global_allocator]
    static ALLOCATOR: Bump = Bump { next: AtomicUsize::new(0) };

    impl Bump {
        /// Makes the memory reach up to `end`.
        fn reach(end: usize) -> bool {
            let pages = (end - 1) / PAGE + 1;
            let missing = pages.saturating_sub(memory_size::<0>());
            missing == 0 || memory_grow::<0>(missing) != usize::MAX
        }
    }

    unsafe impl GlobalAlloc for Bump {
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            let next = match self.next.load(Relaxed) {
                0 => unsafe { std::ptr::addr_of!(__heap_base) as usize },
                next => next,
            };
            let start = (next + layout.align() - 1) & !(layout.align() - 1);
            match start.checked_add(layout.size()) {
                Some(end) if Bump::reach(end) => {
                    self.next.store(end, Relaxed);
                    start as *mut u8
                }
                _ => std::ptr::null_mut(),
            }
        }

        unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
            if place as usize + layout.size() == self.next.load(Relaxed) {
                self.next.store(place as usize, Relaxed);
            }
        }

        unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
            let last = place as usize + layout.size() == self.next.load(Relaxed);
            match (place as usize).checked_add(size) {
                Some(end) if last && Bump::reach(end) => {
                    self.next.store(end, Relaxed);
                    place
                }
                _ if size <= layout.size() => place,
                _ => unsafe {
                    let fresh = self.alloc(Layout::from_size_align_unchecked(size, layout.align()));
                    if !fresh.is_null() {
                        std::ptr::copy_nonoverlapping(place, fresh, layout.size());
                    }
                    fresh
                },
            }
        }
    }
}
