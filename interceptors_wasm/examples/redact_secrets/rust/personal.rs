//! Personal data of high value, checked as far as their checksums and ranges go.

use crate::detect::{Found, Kind, Scan};
use Kind::*;

/// The length of an IBAN of each country.
const IBAN_LENGTHS: &[u8] = b"AD24AE23AL28AT20AZ28BA20BE16BG22BH22BI27BR29BY28CH21CR22CY28CZ24DE22DJ27DK18DO28EE20EG29ES24\
    FI18FK18FO18FR27GB22GE22GI23GL18GR27GT28HR21HU28IE22IL23IQ23IS26IT27JO30KW30KZ20LB28LC32LI21LT20LU20LV21LY25MC27MD24\
    ME22MK19MN20MR27MT31MU30NI28NL18NO15OM23PK24PL28PS29PT25QA29RO24RS22RU33SA24SC31SD18SE24SI19SK24SM27SO23ST25SV28TL23\
    TN24TR26UA29VA22VG24XK20";

/// A payment card: digits without spaces or in the groups that are printed on it, of a network, with a good checksum.
pub fn card(scan: &Scan<'_>, at: usize) -> Option<Found> {
    if !scan.wants(Card) || !matches!(scan.byte(at), b'2'..=b'6') || continues(scan, at) {
        return None;
    }
    let mut digits = [0_u8; 16];
    let (mut count, mut end, mut groups) = (0, at, [0_usize; 5]);
    let separator = scan.byte(at + 4);
    for group in &mut groups {
        *group = scan.run(end, |byte| byte.is_ascii_digit());
        if count + *group > 16 {
            return None;
        }
        for digit in &scan.text[end..end + *group] {
            digits[count] = digit - b'0';
            count += 1;
        }
        end += *group;
        if !matches!(separator, b' ' | b'-') || scan.byte(end) != separator || !scan.byte(end + 1).is_ascii_digit() {
            break;
        }
        end += 1;
    }
    let printed = matches!(groups, [4, 4, 4, 4, 0] | [4, 6, 5, 0, 0] | [4, 6, 4, 0, 0] | [14..=16, 0, 0, 0, 0]);
    let good = printed
        && ends_here(scan, end)
        && !is_in_table(scan, at)
        && is_of_network(&digits, count)
        && has_luhn(&digits[..count]);
    good.then_some(Found { start: at, end, kind: Card })
}

/// Stands another group of four right before it, as in a table of character codes? Then the groups are no card's.
fn is_in_table(scan: &Scan<'_>, at: usize) -> bool {
    let group = &scan.text[scan.done.max(at.saturating_sub(6))..at];
    let text = std::str::from_utf8(group).unwrap_or("").trim();
    group.len() == 6 && text.len() == 4 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The beginnings and lengths that the large networks give out.
fn is_of_network(digits: &[u8; 16], count: usize) -> bool {
    let four = digits[..4].iter().fold(0, |sum, digit| sum * 10 + u32::from(*digit));
    match four {
        4000..=4999 | 5100..=5599 | 2221..=2720 | 6011 | 6440..=6599 | 3528..=3589 | 6200..=6299 => count == 16,
        3400..=3499 | 3700..=3799 => count == 15,
        3000..=3059 | 3600..=3699 | 3800..=3899 => count == 14,
        _ => false,
    }
}

fn has_luhn(digits: &[u8]) -> bool {
    let sum: u32 = digits.iter().rev().enumerate().map(|(place, digit)| luhn_part(place, u32::from(*digit))).sum();
    sum % 10 == 0
}

fn luhn_part(place: usize, digit: u32) -> u32 {
    match digit * 2 {
        _ if place % 2 == 0 => digit,
        double if double > 9 => double - 9,
        double => double,
    }
}

/// In one piece or in groups of four, with the length of its country and a good checksum (ISO 7064, mod 97).
pub fn iban(scan: &Scan<'_>, at: usize) -> Option<Found> {
    if !scan.byte(at + 2).is_ascii_digit() || !scan.byte(at + 3).is_ascii_digit() || !scan.wants(Iban) {
        return None;
    }
    let country = scan.text.get(at..at + 2)?;
    let entry = IBAN_LENGTHS.chunks(4).find(|entry| &entry[..2] == country)?;
    let length = usize::from((entry[2] - b'0') * 10 + (entry[3] - b'0'));
    let mut text = Vec::with_capacity(length);
    let mut end = at;
    while text.len() < length {
        if scan.byte(end) == b' ' && text.len() % 4 == 0 {
            end += 1;
        }
        let byte = scan.byte(end);
        if !(byte.is_ascii_digit() || byte.is_ascii_uppercase()) {
            return None;
        }
        text.push(byte);
        end += 1;
    }
    text.rotate_left(4);
    let rest = text.iter().fold(0, |rest, byte| match byte {
        b'0'..=b'9' => (rest * 10 + u32::from(byte - b'0')) % 97,
        letter => (rest * 100 + u32::from(letter - b'A') + 10) % 97,
    });
    (rest == 1 && !scan.byte(end).is_ascii_alphanumeric()).then_some(Found { start: at, end, kind: Iban })
}

/// `ddd-dd-dddd`, without the ranges that were never given out.
pub fn ssn(scan: &Scan<'_>, at: usize) -> Option<Found> {
    let text = scan.text.get(at..at + 11).filter(|text| text[3] == b'-')?;
    let is_form = text.iter().enumerate().all(|(i, byte)| match i {
        3 | 6 => *byte == b'-',
        _ => byte.is_ascii_digit(),
    });
    let given = &text[..3] != b"000"
        && &text[..3] != b"666"
        && text[0] != b'9'
        && &text[4..6] != b"00"
        && &text[7..] != b"0000";
    let alone = !continues(scan, at) && ends_here(scan, at + 11);
    (is_form && given && alone && scan.wants(Ssn)).then_some(Found { start: at, end: at + 11, kind: Ssn })
}

/// Around an `@`.
pub fn email(scan: &Scan<'_>, at: usize) -> Option<Found> {
    if !scan.wants(Email) {
        return None;
    }
    let is_local = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'%' | b'+' | b'-');
    let local = scan.text[scan.done..at].iter().rev().take(64).take_while(|byte| is_local(byte)).count();
    let mut length = scan.run(at + 1, |byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-'));
    while length > 0 && matches!(scan.text[at + length], b'.' | b'-') {
        length -= 1; // The end of a sentence.
    }
    let mut labels = scan.text[at + 1..at + 1 + length].rsplit(|byte| *byte == b'.');
    let top = labels.next()?;
    let is_domain =
        top.len() >= 2 && top.iter().all(u8::is_ascii_alphabetic) && labels.next().map_or(false, |l| !l.is_empty());
    (local > 0 && is_domain).then_some(Found { start: at - local, end: at + 1 + length, kind: Email })
}

/// `+` and 8 to 15 digits with single separators, or ten digits as they are written in North America.
pub fn phone(scan: &Scan<'_>, at: usize) -> Option<Found> {
    if !scan.wants(Phone) || continues(scan, at) {
        return None;
    }
    if scan.byte(at) != b'+' {
        return north_american(scan, at);
    }
    let (mut end, mut digits, mut gap) = (at + 1, 0, 0);
    loop {
        match scan.byte(end + gap) {
            byte if byte.is_ascii_digit() => {
                digits += 1;
                end += gap + 1;
                gap = 0;
            }
            b' ' | b'-' | b'.' | b'(' | b')' if digits > 0 && gap < 2 => gap += 1,
            _ => break,
        }
    }
    ((8..=15).contains(&digits) && ends_here(scan, end)).then_some(Found { start: at, end, kind: Phone })
}

fn north_american(scan: &Scan<'_>, at: usize) -> Option<Found> {
    const FORMS: [&[u8]; 4] = [b"(N00) N00-0000", b"(N00)N00-0000", b"N00-N00-0000", b"N00.N00.0000"];
    let fits = |form: &&[u8]| {
        form.iter().enumerate().all(|(i, place)| match (place, scan.byte(at + i)) {
            (b'N', byte) => matches!(byte, b'2'..=b'9'),
            (b'0', byte) => byte.is_ascii_digit(),
            (sign, byte) => byte == *sign,
        })
    };
    let end = at + FORMS.iter().find(|form| fits(form))?.len();
    ends_here(scan, end).then_some(Found { start: at, end, kind: Phone })
}

/// Is this a later part of something longer, as of an identifier or of a fraction?
fn continues(scan: &Scan<'_>, at: usize) -> bool {
    let before = scan.before(at);
    before.is_ascii_alphanumeric() || (matches!(before, b'-' | b'.') && scan.before(at - 1).is_ascii_digit())
}

fn ends_here(scan: &Scan<'_>, at: usize) -> bool {
    let next = scan.byte(at);
    !next.is_ascii_alphanumeric() && !(matches!(next, b'-' | b'.') && scan.byte(at + 1).is_ascii_digit())
}
