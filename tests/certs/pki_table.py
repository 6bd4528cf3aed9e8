"""Print a kubeadm-style PKI as a normalised JSON table, one row per file.

usage: pki_table.py KUBERNETES_DIR      (the folder that holds pki/ and *.conf)

Two PKIs made for the same node can be compared with a plain diff: serials,
dates, keys and hashes are left out; subjects, usages, constraints, names,
lifetimes (in days), PEM labels and file modes stay.
Needs: python3-cryptography and python3-yaml
"""
import base64, json, os, stat, sys
import yaml
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

def name(n):
    return {a.rfc4514_attribute_name: a.value for a in n}

def key(k):
    if isinstance(k, (rsa.RSAPrivateKey, rsa.RSAPublicKey)):
        return f"RSA-{k.key_size}"
    if isinstance(k, (ec.EllipticCurvePrivateKey, ec.EllipticCurvePublicKey)):
        return f"EC-{k.curve.name}"
    return type(k).__name__

def moment(c, which):
    # The name that newer releases of the library want, else the one that older ones have.
    return getattr(c, which + "_utc", None) or getattr(c, which)

def cert(pem):
    c = x509.load_pem_x509_certificate(pem)
    row = {
        "subject": name(c.subject), "issuer": name(c.issuer), "key": key(c.public_key()),
        "signature": c.signature_hash_algorithm.name, "version": c.version.name,
        "days": round((moment(c, "not_valid_after") - moment(c, "not_valid_before")).total_seconds() / 86400, 1),
        "extensions": [],
    }
    for e in c.extensions:
        v = e.value
        d = {"oid": e.oid._name, "critical": e.critical}
        if isinstance(v, x509.KeyUsage):
            d["value"] = sorted(u for u in ("digital_signature", "content_commitment", "key_encipherment",
                "data_encipherment", "key_agreement", "key_cert_sign", "crl_sign") if getattr(v, u))
        elif isinstance(v, x509.ExtendedKeyUsage):
            d["value"] = sorted(u._name for u in v)
        elif isinstance(v, x509.BasicConstraints):
            d["value"] = {"ca": v.ca, "path_length": v.path_length}
        elif isinstance(v, x509.SubjectAlternativeName):
            d["value"] = {"dns": v.get_values_for_type(x509.DNSName),
                          "ip": [str(i) for i in v.get_values_for_type(x509.IPAddress)]}
        row["extensions"].append(d)
    return row

def pem_labels(data):
    return [l[11:-5] for l in data.decode().splitlines() if l.startswith("-----BEGIN ")]

def kubeconfig(data):
    k = yaml.safe_load(data)
    user = k["users"][0]["user"]
    row = {"server": k["clusters"][0]["cluster"]["server"], "cluster": k["clusters"][0]["name"],
           "user": k["users"][0]["name"], "context": k["contexts"][0]["name"],
           "current-context": k["current-context"], "user-keys": sorted(user),
           "cluster-keys": sorted(k["clusters"][0]["cluster"])}
    if "client-certificate-data" in user:
        row["client"] = cert(base64.b64decode(user["client-certificate-data"]))
    if "client-key-data" in user:
        row["key-label"] = pem_labels(base64.b64decode(user["client-key-data"]))
    return row

def main(root):
    out = {}
    for d, folders, files in os.walk(root):
        folders[:] = sorted(f for f in folders if not f.startswith("."))
        for f in sorted(files):
            p = os.path.join(d, f); rel = os.path.relpath(p, root)
            if not (rel.startswith("pki") or rel.endswith(".conf")):
                continue
            data = open(p, "rb").read()
            row = {"mode": oct(stat.S_IMODE(os.stat(p).st_mode))}
            if f.endswith(".crt"):
                row.update(cert(data)); row["pem"] = pem_labels(data)
            elif f.endswith(".key"):
                row.update({"pem": pem_labels(data), "key": key(load_pem_private_key(data, None))})
            elif f.endswith(".pub"):
                row.update({"pem": pem_labels(data), "key": key(load_pem_public_key(data))})
            elif f.endswith(".conf"):
                row.update(kubeconfig(data))
            out[rel] = row
    json.dump(out, sys.stdout, indent=1, sort_keys=True); print()

if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
