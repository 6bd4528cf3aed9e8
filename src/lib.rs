//! stayput keeps a kubeadm cluster working while its machines' IP addresses change.

pub mod address;
pub mod book;
pub mod config;
pub mod file;
pub mod name;
pub mod process;
pub mod root;
pub mod surface;
pub mod view;
pub mod writer;
