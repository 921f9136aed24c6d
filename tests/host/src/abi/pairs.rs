//! Lists of pairs, the form in which header maps cross the border: the number of pairs, the
//! lengths of all names and values, then each followed by a zero byte.

/// Names and values.
pub(crate) type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

/// Most pairs Envoy accepts.
const MOST_PAIRS: usize = 1024;
/// Most bytes Envoy accepts.
const MOST_BYTES: usize = 1024 * 1024;

pub(crate) fn encode(pairs: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    let length = |length: usize| u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes();
    let mut bytes = length(pairs.len()).to_vec();
    for (name, value) in pairs {
        bytes.extend(length(name.len()));
        bytes.extend(length(value.len()));
    }
    for (name, value) in pairs {
        for text in [name, value] {
            bytes.extend(text);
            bytes.push(0);
        }
    }
    bytes
}

/// Empty where the bytes are not well formed, as Envoy has it.
pub(crate) fn decode(bytes: &[u8]) -> Pairs {
    if bytes.len() > MOST_BYTES { Pairs::new() } else { read(bytes).unwrap_or_default() }
}

fn read(bytes: &[u8]) -> Option<Pairs> {
    let number = |at: usize| -> Option<usize> {
        let four = bytes.get(at..at + 4)?;
        usize::try_from(u32::from_le_bytes(four.try_into().ok()?)).ok()
    };
    let count = number(0).filter(|count| *count <= MOST_PAIRS)?;
    let mut at = 4 + count * 8;
    let mut text = |length: usize| -> Option<Vec<u8>> {
        let piece = bytes.get(at..at.checked_add(length)?)?.to_vec();
        at += length;
        (bytes.get(at) == Some(&0)).then(|| at += 1)?;
        Some(piece)
    };
    let mut pairs = Pairs::with_capacity(count);
    for index in 0..count {
        let (name, value) = (number(4 + index * 8)?, number(8 + index * 8)?);
        pairs.push((text(name)?, text(value)?));
    }
    (at == bytes.len()).then_some(pairs)
}

#[cfg(test)]
mod tests {
    use super::{Pairs, decode, encode};

    #[test]
    fn what_is_encoded_is_decoded() {
        for pairs in [vec![], vec![(b"a".to_vec(), b"".to_vec()), (b"bc".to_vec(), vec![0, 255])]] {
            assert_eq!(decode(&encode(&pairs)), pairs);
        }
    }

    #[test]
    fn what_is_cut_or_too_long_is_empty() {
        let whole = encode(&[(b"name".to_vec(), b"value".to_vec())]);
        for cut in 0..whole.len() {
            assert_eq!(decode(&whole[..cut]), Pairs::new(), "{cut}");
        }
        let longer: Vec<u8> = whole.iter().copied().chain([0]).collect();
        assert_eq!(decode(&longer), Pairs::new());
        assert_eq!(decode(&[255; 64]), Pairs::new());
    }
}
