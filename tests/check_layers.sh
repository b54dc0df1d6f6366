#!/bin/sh
# What the compiler does not hold: which way includes point, which file may
# know which library, no mutable globals, no test hooks.
#
#   tests/check_layers.sh [BUILD]
#
# With a build directory it also looks into its archives. One line a check,
# "ok" or "BAD" with every offending place; the last line is the sum.
set -u
cd "$(dirname "$0")/.." || exit 2
build=${1:-}
sum=$(mktemp) || exit 2 # a file: verdict runs at the end of a pipe
trap 'rm -f "$sum"' EXIT

# verdict NAME: reads offending places from stdin, none is well.
verdict()
{
    bad=$(cat)
    if [ -z "$bad" ]; then
        echo ok >>"$sum"
        echo "ok   $1"
    else
        echo BAD >>"$sum"
        echo "BAD  $1"
        echo "$bad" | sed 's/^/       /'
    fi
}

product()
{
    find policy pep proxy -name '*.[ch]' | LC_ALL=C sort
}

# only NAME PATTERN FILE...: PATTERN (extended, on code without comments)
# nowhere in the product but in the named files.
only()
{
    name=$1 pattern=$2
    shift 2
    allowed=" $* "
    {
        for f in "$@"; do
            [ -f "$f" ] || echo "$f: an exception for what is not there"
        done
        product | while read -r f; do
            case $allowed in *" $f "*) continue ;; esac
            grep -nE "$pattern" "$f" | grep -vE '^[0-9]+: *(/?\*|//)' | sed "s|^|$f:|"
        done
    } | verdict "$name"
}

# ---- includes point one way: proxy -> pep -> policy ----

for layer in policy pep proxy; do
    case $layer in
    policy) outside='pep|proxy' ;;
    pep) outside='proxy' ;;
    proxy) outside='tests|packaging' ;;
    esac
    grep -nE "#include +\"([^\"]*/)?($outside|tests)/" $layer/*.[ch] 2>/dev/null |
        verdict "$layer includes nothing from above ($outside)"
done

# ---- a foreign library behind one file ----

only 'libevent only in loop' '#include +[<"]event' proxy/loop.c
only 'libcoap only in msg' '#include +(<coap|"coap3?/)' proxy/msg.c
only 'libcbor only in cbor' '#include +(<cbor|"cbor/)' pep/cbor.c pep/compat_cbor.h
TLS_FILES='proxy/dtls.c proxy/dtls_setup.c proxy/dtls_engine.h proxy/dtls_out.c
    proxy/dtls_out_engine.h proxy/tls.c proxy/tls_setup.c proxy/tls_engine.h proxy/compat_mbedtls.h
    proxy/certify.c proxy/certificate.h proxy/certificate.c'
only 'mbedtls TLS and X.509 only in dtls, tls' '#include +[<"]mbedtls/(ssl|x509|debug|net_)' \
    $TLS_FILES
only 'mbedtls only in dtls and crypto_mbedtls, _rsa, _jose' '#include +[<"](mbedtls|psa)/' \
    $TLS_FILES \
    pep/crypto_mbedtls.c pep/crypto_rsa.c pep/crypto_jose.c pep/crypto_inside.h \
    pep/compat_mbedtls.h
only 'libcurl only in http_client, ship_carrier' '#include +[<"]curl' \
    proxy/http_client.c proxy/ship_carrier.c
only 'libfyaml only in yaml' '#include +[<"]libfyaml' policy/yaml.c
only 'libqrencode only in cmd_qr' '#include +[<"]qrencode' proxy/cmd_qr.c
only 'jansson only in json_doc' '#include +[<"]jansson' pep/json_doc.c
only 'libsodium only in crypto_sodium' '#include +[<"]sodium' pep/crypto_sodium.c
only 'lmdb only in store_lmdb' '#include +[<"]lmdb' pep/store_lmdb.c
# when.c: inet_pton() reads the text of an address, it opens nothing.
only 'policy and pep know no sockets' '#include +<(sys/socket|sys/un|netinet/|netdb|poll)' \
    policy/when.c $(ls proxy/*.[ch])
only 'network calls only in udp, tcp, control, notify' \
    '(^|[^_.>[:alnum:]])(socket|bind|connect|accept4?|listen|(send|recv)(m?msg|to|from)?) *\(' \
    proxy/udp.c proxy/tcp.c proxy/control.c proxy/notify.c proxy/ship_local.c $(ls pep/*.c policy/*.c)
# The log stamps its lines, the audit's threads wait and stamp; none tells anyone.
only 'clocks only in loop, log, the audit threads and the programs' \
    '(^|[^_.>[:alnum:]])(clock_gettime|gettimeofday|time) *\((NULL|0|CLOCK_|&)' \
    proxy/loop.c proxy/log.c proxy/audit_sink.c proxy/stamp.c proxy/ship.c \
    proxy/ship_carrier.c proxy/posternd.c proxy/postern.c proxy/cmd_*.c
find policy pep -name '*.[ch]' -exec grep -nHE \
    '(^|[^_[:alnum:]])(printf|fprintf|perror|syslog|puts|vfprintf) *\(' {} + |
    verdict 'policy and pep write no log'

# ---- no door for tests in the product ----

product | xargs grep -nHE '^ *# *(if|ifdef|ifndef|elif).*(TEST|MOCK|FAKE|FUZZ|UNSAFE|INSECURE)' |
    verdict 'no test hooks in the product'
product | xargs grep -nHE '(^|[^_[:alnum:]])(strcpy|strcat|sprintf|gets|alloca|strtok|system|popen) *\(' |
    verdict 'no calls that have no bound'
product | xargs grep -nHE '(^|[^_[:alnum:]])cbor_load *\(' | verdict 'no cbor_load'
product | grep '\.h$' | while read -r h; do
    head -n 1 "$h" | grep -q '^/\*' || echo "$h: does not begin with what it is for"
done | verdict 'every header says what it is for'
find tests -name '*.c' -o -name '*.py' | LC_ALL=C sort | xargs grep -nHE \
    '(^|[^_[:alnum:]])(u|nano)?sleep *\(' | verdict 'no test sleeps'

# ---- no mutable globals: what lies in writable sections of the archives ----
# Constant tables with pointers are in .data.rel.ro: written by the loader
# only. Sanitizers bring data of their own. Justified:
#   log.c settings: level and stream, set once before the first thread

if [ -n "$build" ]; then
    for lib in policy pep proxy; do
        if [ ! -f "$build/lib$lib.a" ]; then
            echo "$build/lib$lib.a: not there"
            continue
        fi
        objdump -t "$build/lib$lib.a" | awk -v lib=$lib '
            /file format/ { sub(/:.*/, "", $1); object = $1 }
            $0 ~ / O / && $0 ~ /[ \t](\.data|\.bss|\.tdata|\.tbss|\.sdata|\.sbss|\*COM\*)/ \
                && $0 !~ /\.data\.rel\.ro/ \
                && $NF !~ /^(\.?L|\*\.L|__asan|__odr_asan|__tsan|__ubsan|__sancov|__msan|__gcov|__prof)/ {
                print lib "/" object ": " $NF }'
    done | grep -vE '^proxy/log\.c\.o: settings$' | verdict 'no mutable globals'
fi

# ---- to look at, no failure: the style's sizes ----

product | while read -r f; do
    n=$(wc -l <"$f")
    case $f in
    *.h) [ "$n" -le 120 ] || echo "note $f: $n lines; over 120, is it two modules?" ;;
    *.c) [ "$n" -le 600 ] || echo "note $f: $n lines; over 600, is it one noun?" ;;
    esac
done

passed=$(grep -c ok "$sum")
failed=$(grep -c BAD "$sum")
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
