//! What probes log in an Envoy, read as it grows.

use std::{
    fs::File,
    io::{Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
};

use crate::trace::{Line, line};

/// The log of one Envoy.
#[derive(Debug)]
pub(crate) struct Log {
    path: PathBuf,
    read: u64,
    /// The start of a line that is not whole yet.
    rest: String,
    /// The thread that spoke first.
    main_thread: Option<String>,
    lines: Vec<Line>,
}

impl Log {
    /// Of an Envoy with this folder.
    pub(crate) fn new(folder: &Path) -> Self {
        let path = folder.join("envoy.log");
        Self { path, read: 0, rest: String::new(), main_thread: None, lines: Vec::new() }
    }

    /// What probes have said so far.
    pub(crate) fn lines(&mut self) -> &[Line] {
        let mut fresh = Vec::new();
        let mut file = File::open(&self.path).expect("Envoy's log can be opened");
        file.seek(SeekFrom::Start(self.read)).expect("it can be read");
        self.read += file.read_to_end(&mut fresh).expect("it can be read") as u64;
        self.rest += &String::from_utf8_lossy(&fresh);
        let whole = self.rest.rfind('\n').map_or(0, |end| end + 1);
        let text: String = self.rest.drain(..whole).collect();
        for line in text.lines() {
            let Some(thread) = field(line, 1) else { continue };
            let main = self.main_thread.get_or_insert_with(|| thread.to_owned()) == thread;
            self.lines.extend(said(main, line));
        }
        &self.lines
    }
}

fn said(main: bool, text: &str) -> Option<Line> {
    let (_, message) = text.split_once(" wasm log")?;
    let (_, message) = message.split_once(": @")?;
    line(main, field(text, 2)?, &format!("@{message}"))
}

/// The n-th part in brackets of a line of Envoy's log.
fn field(line: &str, nth: usize) -> Option<&str> {
    let part = line.strip_prefix('[')?.split("][").nth(nth)?;
    Some(part.split(']').next().unwrap_or(part))
}
