//! The other end of an emulated board's serial line: plays a conversation that the host wrote.
//!
//! A conversation has a step in each line: `send HEX` bytes, or `expect HEX` bytes from the board.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{self, Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

/// Lines that there have been: each has a socket of its own.
static LINES: AtomicUsize = AtomicUsize::new(0);

/// A line and what is said over it.
pub struct Line {
    socket: PathBuf,
    steps: Vec<Step>,
}

#[derive(Debug, PartialEq, Eq)]
enum Step {
    Send(Vec<u8>),
    Expect(Vec<u8>),
}

impl Line {
    /// Reads a conversation.
    pub fn new(conversation: PathBuf) -> Result<Self> {
        let name = || conversation.display().to_string();
        let text = fs::read_to_string(&conversation).with_context(name)?;
        let steps = parse(&text).with_context(name)?;
        // Names of sockets may have 107 bytes; a target directory's may be longer.
        let number = LINES.fetch_add(1, Ordering::Relaxed);
        let socket = std::env::temp_dir().join(format!("cic-serial-{}-{number}", process::id()));
        Ok(Self { socket, steps })
    }

    /// QEMU's `-serial`: it waits for this program before the board starts.
    pub fn argument(&self) -> String {
        format!("unix:{},server=on,wait=on", self.socket.display())
    }

    /// Runs the emulator and plays the conversation.
    pub fn run(&self, qemu: &mut Command) -> Result<Output> {
        let _ = fs::remove_file(&self.socket);
        let qemu = qemu.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = qemu.spawn().context("cannot start timeout")?;
        let played = self.connect(&mut child).and_then(|stream| self.play(stream));
        if played.is_err() {
            end(&child);
        }
        let output = child.wait_with_output()?;
        let _ = fs::remove_file(&self.socket);
        let console = || String::from_utf8_lossy(&output.stdout).into_owned();
        played.with_context(|| format!("serial line; the board's console:\n{}", console()))?;
        Ok(output)
    }

    fn connect(&self, child: &mut Child) -> Result<UnixStream> {
        let start = Instant::now();
        loop {
            match UnixStream::connect(&self.socket) {
                Ok(stream) => return Ok(stream),
                Err(_) if start.elapsed() < PATIENCE && child.try_wait()?.is_none() => {
                    sleep(Duration::from_millis(10));
                }
                Err(error) => return Err(error).context("the emulator opened no serial line"),
            }
        }
    }

    /// Returns the stream, which must stay open until the board has read all of it.
    fn play(&self, mut stream: UnixStream) -> Result<UnixStream> {
        stream.set_read_timeout(Some(PATIENCE))?;
        for (number, step) in (1..).zip(&self.steps) {
            match step {
                Step::Send(bytes) => stream.write_all(bytes)?,
                Step::Expect(bytes) => {
                    let mut found = vec![0; bytes.len()];
                    let read = stream.read_exact(&mut found);
                    read.with_context(|| format!("step {number}: no whole answer"))?;
                    ensure!(
                        found == *bytes,
                        "step {number}: expected {bytes:02x?}, found {found:02x?}"
                    );
                }
            }
        }
        Ok(stream)
    }
}

/// Ends the emulator through `timeout`, which passes this signal on; killed itself, it would leave the emulator
/// to run for ever, and this program to wait for the end of its console.
fn end(timeout: &Child) {
    let _ = Command::new("kill").arg(timeout.id().to_string()).status();
}

fn parse(text: &str) -> Result<Vec<Step>> {
    let step = |(number, line): (usize, &str)| {
        let (verb, hex) = line.split_once(' ').unwrap_or((line, ""));
        let bytes =
            bytes(hex).with_context(|| format!("line {number}: no bytes in hexadecimal"))?;
        match verb {
            "send" => Ok(Step::Send(bytes)),
            "expect" => Ok(Step::Expect(bytes)),
            _ => bail!("line {number}: expected send or expect, found {verb:?}"),
        }
    };
    (1..).zip(text.lines()).map(step).collect()
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u32>> = hex.chars().map(|digit| digit.to_digit(16)).collect();
    let pairs = digits?;
    let pairs = pairs.chunks(2);
    pairs.map(|pair| u8::try_from(pair.first()? * 16 + pair.get(1)?).ok()).collect()
}

/// Far more than a board takes for an answer, its timeout included.
const PATIENCE: Duration = Duration::from_secs(20);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conversation_has_a_step_in_each_line() {
        let steps = parse("send 00ff\nexpect 10\nsend \n").unwrap();
        assert_eq!(steps, [Step::Send(vec![0, 255]), Step::Expect(vec![16]), Step::Send(vec![])]);
    }

    #[test]
    fn names_the_line_that_is_no_step() {
        let error = parse("send 00\nsay 00\n").unwrap_err();
        assert_eq!(error.to_string(), "line 2: expected send or expect, found \"say\"");
        assert!(parse("send 0\n").is_err());
        assert!(parse("send xx\n").is_err());
    }
}
