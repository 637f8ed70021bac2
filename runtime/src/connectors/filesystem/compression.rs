//! gzip and zstd, by a file's extension or by the option `compression`.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use engine::error::SqlError;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;

use crate::connectors::options::TableOptions;

/// How a file is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip (`.gz`); several members in a row are one file.
    Gzip,
    /// Zstandard (`.zst`); several frames in a row are one file.
    Zstd,
}

impl Compression {
    /// What the option `compression` says; `None` leaves it to the extension.
    ///
    /// # Errors
    /// Another word.
    pub fn parse(options: &TableOptions<'_>) -> Result<Option<Compression>, SqlError> {
        let words = [
            ("auto", None),
            ("none", Some(Compression::None)),
            ("gzip", Some(Compression::Gzip)),
            ("zstd", Some(Compression::Zstd)),
        ];
        Ok(options.word("compression", &words)?.flatten())
    }

    /// What the extension of `path` says.
    pub fn of_path(path: &Path) -> Compression {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("gz" | "gzip") => Compression::Gzip,
            Some("zst" | "zstd") => Compression::Zstd,
            _ => Compression::None,
        }
    }

    /// What a file name gets appended.
    pub fn extension(self) -> &'static str {
        match self {
            Compression::None => "",
            Compression::Gzip => ".gz",
            Compression::Zstd => ".zst",
        }
    }

    /// The decompressed bytes of a file.
    pub fn reader(self, file: File) -> io::Result<Box<dyn Read + Send>> {
        Ok(match self {
            Compression::None => Box::new(file),
            Compression::Gzip => Box::new(MultiGzDecoder::new(io::BufReader::with_capacity(1 << 16, file))),
            Compression::Zstd => Box::new(zstd::Decoder::new(file)?),
        })
    }

    /// Compresses what is written.
    pub fn writer(self, file: File) -> io::Result<CompressedFile> {
        Ok(match self {
            Compression::None => CompressedFile::Plain(file),
            Compression::Gzip => CompressedFile::Gzip(GzEncoder::new(file, flate2::Compression::default())),
            Compression::Zstd => CompressedFile::Zstd(zstd::Encoder::new(file, 0)?),
        })
    }
}

/// A file that compresses what is written into it.
pub enum CompressedFile {
    /// As it is.
    Plain(File),
    /// gzip.
    Gzip(GzEncoder<File>),
    /// Zstandard.
    Zstd(zstd::Encoder<'static, File>),
}

impl CompressedFile {
    /// Writes what ends the compressed stream, and gives the file back.
    pub fn finish(self) -> io::Result<File> {
        match self {
            CompressedFile::Plain(file) => Ok(file),
            CompressedFile::Gzip(encoder) => encoder.finish(),
            CompressedFile::Zstd(encoder) => encoder.finish(),
        }
    }
}

impl std::fmt::Debug for CompressedFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            CompressedFile::Plain(_) => "Plain",
            CompressedFile::Gzip(_) => "Gzip",
            CompressedFile::Zstd(_) => "Zstd",
        })
    }
}

impl Write for CompressedFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            CompressedFile::Plain(file) => file.write(bytes),
            CompressedFile::Gzip(encoder) => encoder.write(bytes),
            CompressedFile::Zstd(encoder) => encoder.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            CompressedFile::Plain(file) => file.flush(),
            CompressedFile::Gzip(encoder) => encoder.flush(),
            CompressedFile::Zstd(encoder) => encoder.flush(),
        }
    }
}
