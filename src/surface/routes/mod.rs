//! stub
pub mod plan;
pub mod wanted;
