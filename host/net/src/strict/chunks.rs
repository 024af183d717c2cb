//! Where a chunked body ends (RFC 9112 section 7.1). hyper reads the same bytes and refuses what is
//! wrong in them; this must only never see an end where hyper sees none, and is therefore as strict
//! or stricter.

/// Bytes of a chunk's line, extensions included.
const MAX_LINE: usize = 4096;

/// Hexadecimal digits of a chunk's size: as many as fit.
const MAX_DIGITS: usize = 15;

/// The state between two bytes of a chunked body.
#[derive(Debug, Default)]
pub(super) struct Chunks {
    at: At,
    size: u64,
    /// Bytes of the present line; of a size, its digits.
    length: usize,
    /// Of a trailer line nothing but its end has come.
    empty: bool,
    /// Bytes and lines of the trailer section.
    trailers: (usize, usize),
    most: Most,
}

/// The most that a trailer section may have.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Most {
    pub bytes: usize,
    pub fields: usize,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum At {
    #[default]
    Size,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    Trailer,
    TrailerLf,
    End,
}

/// The bytes are no chunked body.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum BadChunk {
    Syntax,
    /// Of its trailers there are more than it may have.
    Trailers,
}

impl Chunks {
    /// A body whose trailer section is at most so large.
    pub(super) fn bounded(most: Most) -> Self {
        Chunks {
            most,
            ..Chunks::default()
        }
    }

    /// How many of `bytes` belong to the body; fewer than all only where it ends there.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<usize, BadChunk> {
        let mut taken = 0;
        while taken < bytes.len() && self.at != At::End {
            if self.at == At::Data {
                let here =
                    (bytes.len() - taken).min(usize::try_from(self.size).unwrap_or(usize::MAX));
                self.size -= here as u64;
                taken += here;
                if self.size == 0 {
                    self.at = At::DataCr;
                }
                continue;
            }
            let Some(byte) = bytes.get(taken) else {
                break;
            };
            self.step(*byte)?;
            taken += 1;
        }
        Ok(taken)
    }

    pub(super) fn has_ended(&self) -> bool {
        self.at == At::End
    }

    fn step(&mut self, byte: u8) -> Result<(), BadChunk> {
        self.length += 1;
        let (bytes, lines) = &mut self.trailers;
        if matches!(self.at, At::Trailer | At::TrailerLf) {
            *bytes += 1;
            *lines += usize::from(byte == b'\n' && !self.empty);
            if *bytes > self.most.bytes || *lines > self.most.fields {
                return Err(BadChunk::Trailers);
            }
        } else if self.length > MAX_LINE {
            return Err(BadChunk::Syntax);
        }
        self.at = match (self.at, byte) {
            (At::Size, byte) if byte.is_ascii_hexdigit() && self.length <= MAX_DIGITS => {
                let digit = char::from(byte).to_digit(16).unwrap_or_default();
                self.size = self.size * 16 + u64::from(digit);
                At::Size
            }
            (At::Size, b'\r') if self.length > 1 => At::SizeLf,
            (At::Size, b';') if self.length > 1 => At::Extension,
            (At::Extension, b'\r') => At::SizeLf,
            (At::Extension, byte) if is_text(byte) => At::Extension,
            (At::SizeLf, b'\n') => {
                self.length = 0;
                self.empty = true;
                if self.size == 0 {
                    At::Trailer
                } else {
                    At::Data
                }
            }
            (At::DataCr, b'\r') => At::DataLf,
            (At::DataLf, b'\n') => {
                self.length = 0;
                At::Size
            }
            (At::Trailer, b'\r') => At::TrailerLf,
            (At::Trailer, byte) if is_text(byte) => {
                self.empty = false;
                At::Trailer
            }
            (At::TrailerLf, b'\n') if self.empty => At::End,
            (At::TrailerLf, b'\n') => {
                self.length = 0;
                self.empty = true;
                At::Trailer
            }
            _ => return Err(BadChunk::Syntax),
        };
        Ok(())
    }
}

fn is_text(byte: u8) -> bool {
    matches!(byte, b'\t' | 0x20..=0x7e | 0x80..)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(body: &str) -> Result<Option<usize>, BadChunk> {
        let mut chunks = Chunks::bounded(Most {
            bytes: 100,
            fields: 3,
        });
        let taken = chunks.take(body.as_bytes())?;
        Ok(chunks.has_ended().then_some(taken))
    }

    #[test]
    fn chunked_body_ends_after_its_last_chunk_and_trailers() {
        for (body, ended) in [
            ("0\r\n\r\n", true),
            ("3\r\nabc\r\n0\r\n\r\n", true),
            ("a;x=\"y\"\r\n0123456789\r\n000\r\nx: y\r\n\r\n", true),
            ("3\r\nabc\r\n0\r\n", false),
            ("3\r\nab", false),
        ] {
            let expected = ended.then_some(body.len());
            assert_eq!(end(body), Ok(expected), "{body:?}");
            // What follows is not its.
            if ended {
                assert_eq!(end(&format!("{body}GET")), Ok(expected), "{body:?}");
            }
        }
    }

    #[test]
    fn malformed_chunk_is_rejected() {
        for body in [
            "\r\n",
            ";\r\n",
            "g\r\n",
            "3\nabc",
            "3\r\nabcd\r\n",
            "3 \r\nabc\r\n",
            "0x3\r\n",
            "-1\r\n",
            "1\r\na\n",
            "1000000000000000\r\n",
            "0\r\nx: y\n\r\n",
            "0\r\nx\0: y\r\n",
        ] {
            assert_eq!(end(body), Err(BadChunk::Syntax), "{body:?}");
        }
        assert_eq!(
            end(&format!("1;{}\r\n", "x".repeat(5000))),
            Err(BadChunk::Syntax)
        );
    }

    #[test]
    fn trailer_section_is_bounded_in_bytes_and_fields() {
        let ended = |fields: &str| end(&format!("0\r\n{fields}\r\n"));
        assert!(ended(&"x: y\r\n".repeat(3)).unwrap().is_some());
        assert_eq!(ended(&"x: y\r\n".repeat(4)), Err(BadChunk::Trailers));
        let long = |bytes: usize| format!("x: {}\r\n", "y".repeat(bytes - 5));
        assert!(ended(&long(98)).unwrap().is_some());
        assert_eq!(ended(&long(99)), Err(BadChunk::Trailers));
    }
}
