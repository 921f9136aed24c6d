//! Is it gRPC, which method, how did it end.

/// Whether a `content-type` says gRPC or gRPC-Web: `application/grpc`, `application/grpc-web` or
/// `application/grpc-web-text`, alone or with any `+suffix`, with or without `;parameters`, in any
/// case. Sources: the gRPC over HTTP/2 protocol and the gRPC-Web protocol.
pub fn is_grpc(content_type: &[u8]) -> bool {
    const GRPC: &[u8] = b"application/grpc";
    // What nearly every client sends.
    if content_type == GRPC {
        return true;
    }
    let media_type = content_type.split(|byte| *byte == b';').next().unwrap_or_default();
    let media_type = media_type.trim_ascii();
    let Some((start, rest)) = media_type.split_at_checked(GRPC.len()) else {
        return false;
    };
    start.eq_ignore_ascii_case(GRPC) && is_grpc_tail(rest)
}

/// What may follow `application/grpc`: nothing, `-web`, `-web-text`, each with a `+suffix` or not.
fn is_grpc_tail(tail: &[u8]) -> bool {
    let mut parts = tail.splitn(2, |byte| *byte == b'+');
    let web = parts.next().unwrap_or_default();
    let known_web = [&b""[..], b"-web", b"-web-text"].iter().any(|w| w.eq_ignore_ascii_case(web));
    known_web && parts.next().is_none_or(|suffix| !suffix.is_empty())
}

/// The method a `:path` names: `/pkg.Service/Method` without query string or fragment. `None` where
/// the path is not UTF-8 or not of that shape: two segments, neither empty.
pub fn method_of(path: &[u8]) -> Option<&str> {
    let path = path.split(|byte| matches!(byte, b'?' | b'#')).next()?;
    let path = core::str::from_utf8(path).ok()?;
    let (service, method) = path.strip_prefix('/')?.split_once('/')?;
    (!service.is_empty() && !method.is_empty() && !method.contains('/')).then_some(path)
}

/// How a gRPC call ended: its `grpc-status`. Source: gRPC's list of status codes, 0 to 16.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Status(u8);

impl Status {
    /// The call succeeded.
    pub const OK: Status = Status(0);
    /// The client gave up.
    pub const CANCELLED: Status = Status(1);
    /// None of the others fits.
    pub const UNKNOWN: Status = Status(2);
    /// The client sent what no state of the server would accept.
    pub const INVALID_ARGUMENT: Status = Status(3);
    /// The deadline passed first.
    pub const DEADLINE_EXCEEDED: Status = Status(4);
    /// What was asked for is not there.
    pub const NOT_FOUND: Status = Status(5);
    /// What was to be created is there already.
    pub const ALREADY_EXISTS: Status = Status(6);
    /// The caller may not.
    pub const PERMISSION_DENIED: Status = Status(7);
    /// A quota or a resource is used up.
    pub const RESOURCE_EXHAUSTED: Status = Status(8);
    /// The server's state does not allow it.
    pub const FAILED_PRECONDITION: Status = Status(9);
    /// Stopped, typically by a conflict.
    pub const ABORTED: Status = Status(10);
    /// Past the valid range.
    pub const OUT_OF_RANGE: Status = Status(11);
    /// The server does not have this method.
    pub const UNIMPLEMENTED: Status = Status(12);
    /// The server broke an invariant of its own.
    pub const INTERNAL: Status = Status(13);
    /// The server cannot be reached or does not serve now.
    pub const UNAVAILABLE: Status = Status(14);
    /// Data was lost for good.
    pub const DATA_LOSS: Status = Status(15);
    /// The caller is not known.
    pub const UNAUTHENTICATED: Status = Status(16);

    /// From the value of a `grpc-status` header: decimal 0 to 16, spaces around it allowed.
    /// Whatever else is there is [`Status::UNKNOWN`], as gRPC's clients treat it.
    pub fn parse(value: &[u8]) -> Status {
        match value.trim_ascii() {
            [units @ b'0'..=b'9'] => Status(units - b'0'),
            [b'1', units @ b'0'..=b'6'] => Status(10 + (units - b'0')),
            _ => Status::UNKNOWN,
        }
    }

    /// From a number, such as Envoy's property `response.grpc_status`.
    pub fn from_code(code: i64) -> Status {
        u8::try_from(code).ok().filter(|code| *code <= 16).map_or(Status::UNKNOWN, Status)
    }

    /// Whether it cannot come from Envoy itself, which answers with what it makes of an HTTP status
    /// (`INTERNAL`, `UNAUTHENTICATED`, `PERMISSION_DENIED`, `UNIMPLEMENTED`, `UNAVAILABLE`,
    /// `UNKNOWN`), of a deadline or of a rate limit. Source: Envoy's `httpToGrpcStatus`.
    pub const fn is_a_servers(self) -> bool {
        !matches!(
            self,
            Status::INTERNAL
                | Status::UNAUTHENTICATED
                | Status::PERMISSION_DENIED
                | Status::UNIMPLEMENTED
                | Status::UNAVAILABLE
                | Status::UNKNOWN
                | Status::DEADLINE_EXCEEDED
                | Status::RESOURCE_EXHAUSTED
        )
    }

    /// Whether it blames the server rather than the request.
    pub const fn blames_the_server(self) -> bool {
        matches!(
            self,
            Status::UNKNOWN
                | Status::RESOURCE_EXHAUSTED
                | Status::INTERNAL
                | Status::UNAVAILABLE
                | Status::DATA_LOSS
        )
    }

    /// The number, 0 to 16.
    pub const fn code(self) -> u8 {
        self.0
    }

    /// Whether the call succeeded.
    pub const fn is_ok(self) -> bool {
        self.0 == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test;
    use proptest::prelude::*;

    #[test]
    fn some_statuses_blame_the_server() {
        let blaming = (0..=16).filter(|code| Status::from_code(*code).blames_the_server());
        assert_eq!(blaming.collect::<Vec<_>>(), [2, 8, 13, 14, 15]);
    }

    #[test]
    fn content_types() {
        for yes in [
            "application/grpc",
            "application/grpc+proto",
            "application/grpc+json",
            "application/grpc+my.thing-2",
            "application/grpc; charset=utf-8",
            "application/grpc+proto;a=b;c=d",
            " Application/GRPC ;x",
            "APPLICATION/GRPC-WEB",
            "application/grpc-web+proto",
            "application/grpc-web-text",
            "application/grpc-web-text+proto",
        ] {
            assert!(is_grpc(yes.as_bytes()), "{yes}");
        }
        for no in [
            "",
            "application/grp",
            "application/grpcfoo",
            "application/grpc-",
            "application/grpc-webs",
            "application/grpc-web-texts+proto",
            "application/grpc+",
            "application/grpc-web+",
            "application/grpc proto",
            "application/json",
            "text/plain; application/grpc",
            ";application/grpc",
        ] {
            assert!(!is_grpc(no.as_bytes()), "{no}");
        }
        assert!(!is_grpc(b"application/grpc\xff"));
    }

    #[test]
    fn methods() {
        for (path, method) in [
            ("/helloworld.Greeter/SayHello", Some("/helloworld.Greeter/SayHello")),
            ("/Greeter/SayHello?a=/b/c", Some("/Greeter/SayHello")),
            ("/Greeter/SayHello#f", Some("/Greeter/SayHello")),
            ("/Greeter/SayHello/more", None),
            ("/Greeter/", None),
            ("//SayHello", None),
            ("/Greeter", None),
            ("/?/x", None),
            ("/", None),
            ("", None),
            ("Greeter/SayHello", None),
            ("http://host/Greeter/SayHello", None),
        ] {
            assert_eq!(method_of(path.as_bytes()), method, "{path}");
        }
        assert_eq!(method_of(b"/a\xff/b"), None);
    }

    #[test]
    fn statuses() {
        for code in 0..=16u8 {
            let status = Status::parse(code.to_string().as_bytes());
            assert_eq!(status.code(), code);
            assert_eq!(Status::from_code(code.into()), status);
            assert_eq!(status.is_ok(), code == 0);
        }
        for odd in ["", "17", "99", "014", "-1", "1x", "1.0", "0x1", "256", "OK"] {
            assert_eq!(Status::parse(odd.as_bytes()), Status::UNKNOWN, "{odd}");
        }
        assert_eq!(Status::parse(b" 14 "), Status::UNAVAILABLE);
        for odd in [-1, 17, 256, i64::MAX, i64::MIN] {
            assert_eq!(Status::from_code(odd), Status::UNKNOWN);
        }
    }

    #[test]
    fn what_only_a_server_says() {
        let a_servers = (0..=16).filter(|code| Status::from_code(*code).is_a_servers());
        assert_eq!(a_servers.collect::<Vec<_>>(), [0, 1, 3, 5, 6, 9, 10, 11, 15]);
    }

    proptest! {
        #[test]
        fn nothing_panics(bytes: Vec<u8>) {
            is_grpc(&bytes);
            Status::parse(&bytes);
            if let Some(method) = method_of(&bytes) {
                prop_assert_eq!(method.matches('/').count(), 2);
            }
        }
    }
}
