//! etcd's members come and go by name.
