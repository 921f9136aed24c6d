//! What the admin interface is asked.

/// Longest filter of the admin interface; with more clusters in use, all are read.
const FILTER_BYTES: usize = 4_000;

/// The path that asks for `names`, and for `admin_cluster`, so that an answer without clusters is
/// no answer of Envoy's. Envoy before 1.38 ignores the filter and lists all.
pub(super) fn admin_path<'a>(
    names: impl Iterator<Item = &'a str>,
    admin_cluster: &'a str,
) -> String {
    let mut path = String::from("/clusters?format=json&filter=%5E%28");
    for (index, name) in names.chain([admin_cluster]).enumerate() {
        if index > 0 {
            path.push_str("%7C");
        }
        for byte in name.bytes() {
            if byte.is_ascii_alphanumeric() || byte == b'_' {
                path.push(char::from(byte));
            } else {
                // A regular expression: punctuation is escaped, then all is percent-encoded.
                path.push_str(if byte.is_ascii() { "%5C%" } else { "%" });
                for half in [byte >> 4, byte & 15] {
                    path.extend(char::from_digit(u32::from(half), 16));
                }
            }
        }
    }
    path.push_str("%29%24");
    if path.len() > FILTER_BYTES {
        path.truncate("/clusters?format=json".len());
    }
    path
}

#[cfg(test)]
mod tests {
    use super::admin_path as path;
    use crate::test;

    fn admin_path(names: &[String], admin_cluster: &str) -> String {
        path(names.iter().map(String::as_str), admin_cluster)
    }

    #[test]
    fn the_admin_interface_is_asked_for_the_clusters_in_use() {
        assert_eq!(
            admin_path(&["outbound|80||a.b".to_owned()], "admin"),
            "/clusters?format=json&filter=%5E%28outbound%5C%7c80%5C%7c%5C%7ca%5C%2eb%7Cadmin%29%24"
        );
        assert!(admin_path(&["é".to_owned()], "admin").contains("=%5E%28%c3%a9%7Cadmin%29"));
        let many = vec!["c".repeat(100); 100];
        assert_eq!(admin_path(&many, "admin"), "/clusters?format=json");
        let around = admin_path(&[String::new()], "admin").len();
        let filtered = |length: usize| admin_path(&["c".repeat(length - around)], "admin");
        assert_eq!(filtered(4_000).len(), 4_000);
        assert_eq!(filtered(4_001), "/clusters?format=json");
    }
}
