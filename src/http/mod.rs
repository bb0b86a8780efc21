//! What a process serves over HTTP.

mod operations;

pub use self::operations::Operations;
