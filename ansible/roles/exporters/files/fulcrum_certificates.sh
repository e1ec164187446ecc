#!/bin/sh
# When the host's certificate ends, and the first of those that it trusts: for the exporter of the
# host, which reads the file that is written here.
set -eu
folder=/etc/fulcrum/tls
written=$STATE_DIRECTORY/fulcrum_certificates.prom

ends() {
    openssl crl2pkcs7 -nocrl -certfile "$1" | openssl pkcs7 -print_certs -text -noout |
        sed -n 's/^ *Not After *: *//p' | while read -r moment; do date -d "$moment" +%s; done |
        sort -n | head -n 1
}

{
    echo '# HELP fulcrum_certificate_ends_seconds When the certificate ends, since 1970.'
    echo '# TYPE fulcrum_certificate_ends_seconds gauge'
    for name in ca.crt host.crt; do
        echo "fulcrum_certificate_ends_seconds{file=\"$name\"} $(ends "$folder/$name")"
    done
} >"$written.new"
chmod 644 "$written.new"
mv "$written.new" "$written"
