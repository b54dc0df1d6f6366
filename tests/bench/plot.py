"""Plots as SVG, by hand: lines over a logarithmic axis, and bars. No library,
nothing fetched; the file holds its numbers as titles of its points."""
import html
import math
import os

WIDTH, HEIGHT = 640, 400
LEFT, RIGHT, TOP, BOTTOM = 78, 130, 44, 52
COLORS = ("#4c72b0", "#dd8452", "#2a7f4f", "#8c4a9e", "#937860", "#c44e52")


def _text(x, y, text, more=""):
    return '<text x="%.1f" y="%.1f" %s>%s</text>' % (x, y, more, html.escape(str(text)))


def _number(v):
    for unit, name in ((1e6, "M"), (1e3, "k")):
        if v >= unit:
            return "%g%s" % (round(v / unit, 2), name)
    return "%.3g" % v


def _frame(title, below, note):
    return ['<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" '
            'font-family="sans-serif" font-size="12" fill="#222">' % (WIDTH, HEIGHT, WIDTH, HEIGHT),
            '<rect width="100%" height="100%" fill="#fff"/>',
            _text(LEFT, 22, title, 'font-size="15" font-weight="bold"'),
            _text(LEFT, 36, note, 'font-size="9" fill="#777"'),
            _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 12, below, 'text-anchor="middle"')]


def _decades(low, high):
    return range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)


class _Axis:
    """Value -> place; logarithmic, or from 0."""

    def __init__(self, values, start, end, log):
        low, high = min(values), max(values)
        if log:
            d = _decades(low, high)
            # no further than the values, by halves of a decade
            self.ticks = [10.0 ** e for e in d if low <= 10.0 ** e * 1.01 and 10.0 ** e <= high * 10]
            self.low, self.high = math.log10(low * 0.8), math.log10(high * 1.25)
        else:
            step = 10 ** math.floor(math.log10(high or 1))
            step = next(s for s in (step / 5, step / 2, step, step * 2) if high / s <= 8)
            self.ticks = [i * step for i in range(int(high * 1.05 / step) + 1)]
            self.low, self.high = 0, high * 1.1 or 1
        self.log, self.start, self.end = log, start, end

    def at(self, v):
        v = math.log10(v) if self.log else v
        return self.start + (self.end - self.start) * (v - self.low) / (self.high - self.low)

    def shown(self):
        return [t for t in self.ticks
                if self.low <= (math.log10(t) if self.log else t) <= self.high]


def lines(path, title, below, note, series, log_y=False):
    """series: name -> [(x, y)], all above 0 where the axis is logarithmic."""
    series = {n: sorted(p for p in ps if p[0] > 0 and (p[1] > 0 or not log_y))
              for n, ps in series.items()}
    series = {n: ps for n, ps in series.items() if ps}
    if not series:
        return
    xs = [x for ps in series.values() for x, _ in ps]
    ys = [y for ps in series.values() for _, y in ps]
    x_axis = _Axis(xs, LEFT, WIDTH - RIGHT, True)
    y_axis = _Axis(ys, HEIGHT - BOTTOM, TOP, log_y)
    out = _frame(title, below, note)
    for t in y_axis.shown():
        y = y_axis.at(t)
        out.append('<path d="M%d %.1fH%d" stroke="#ddd"/>' % (LEFT, y, WIDTH - RIGHT))
        out.append(_text(LEFT - 6, y + 4, _number(t), 'text-anchor="end"'))
    for t in sorted(set(xs)):
        x = x_axis.at(t)
        out.append('<path d="M%.1f %dv4" stroke="#999"/>' % (x, HEIGHT - BOTTOM))
        out.append(_text(x, HEIGHT - BOTTOM + 17, _number(t), 'text-anchor="middle"'))
    for i, (name, points) in enumerate(series.items()):
        color = COLORS[i % len(COLORS)]
        place = " ".join("%.1f,%.1f" % (x_axis.at(x), y_axis.at(y)) for x, y in points)
        out.append('<polyline points="%s" fill="none" stroke="%s" stroke-width="2"/>' %
                   (place, color))
        for x, y in points:
            out.append('<circle cx="%.1f" cy="%.1f" r="3" fill="%s"><title>%s: %s, %s</title>'
                       '</circle>' % (x_axis.at(x), y_axis.at(y), color, html.escape(name),
                                      _number(x), _number(y)))
        y = TOP + 10 + 18 * i
        out.append('<path d="M%d %dh16" stroke="%s" stroke-width="3"/>' %
                   (WIDTH - RIGHT + 8, y - 4, color))
        out.append(_text(WIDTH - RIGHT + 28, y, name))
    _write(path, out)


def bars(path, title, below, note, rows):
    """rows: [(name, value)], none below 0."""
    if not rows:
        return
    axis = _Axis([v for _, v in rows], LEFT + 90, WIDTH - 70, False)
    step = (HEIGHT - TOP - BOTTOM) / len(rows)
    out = _frame(title, below, note)
    for i, (name, v) in enumerate(rows):
        y = TOP + step * i + step * 0.15
        out.append('<rect x="%d" y="%.1f" width="%.1f" height="%.1f" fill="%s"/>' %
                   (LEFT + 90, y, axis.at(v) - LEFT - 90, step * 0.7,
                    COLORS[i % len(COLORS)]))
        out.append(_text(LEFT + 84, y + step * 0.35 + 4, name, 'text-anchor="end"'))
        out.append(_text(axis.at(v) + 6, y + step * 0.35 + 4, _number(v)))
    _write(path, out)


def _write(path, out):
    with open(path, "w") as f:
        f.write("\n".join(out + ["</svg>"]) + "\n")


def draw(result, directory):
    """All that a result of tests/bench/run has; returns the files."""
    os.makedirs(directory, exist_ok=True)
    note = "%(cpu)s, %(cores)d cores; Linux %(kernel)s; mbedtls %(mbedtls)s" % result["machine"]

    def path(name):
        return os.path.join(directory, name + ".svg")

    gets = [c for c in result["cases"] if c["what"] == "closed" and c["method"] == "GET" and
            c["under_way"] == min(c["clients"], 64)]
    for name, key, title, log in (
            ("cpu", "cpu_us", "CPU of the proxy, us a request", True),
            ("throughput", "per_second", "Requests a second, closed loop", False),
            ("p99", "p99_us", "p99 of the latency, us", True),
            ("memory", "rss_kib", "Resident memory of the proxy, KiB", True)):
        series = {}
        for c in gets:
            for s, r in c["systems"].items():
                series.setdefault(s, []).append((c["clients"], r[key]))
        lines(path(name), title, "associations", note, series, log)
    series = {}
    for c in gets:
        r = c["systems"].get("postern")
        for key, name in (("p50_us", "p50"), ("p99_us", "p99"), ("p999_us", "p99.9")):
            if r:
                series.setdefault(name, []).append((c["clients"], r[key]))
    lines(path("latency"), "Latency of Postern, us", "associations", note, series, True)
    series = {}
    for d in result.get("decisions", []):
        series.setdefault(d["shape"], []).append((d["rules"], d["ns"]))
    lines(path("decisions"), "A decision, ns", "rules of the policy", note, series)
    shakes = [("%s, %s" % (s, "ECDHE" if c["certificates"] else "PSK"), r["cpu_us"])
              for c in result["cases"] if c["what"].startswith("handshakes")
              for s, r in c["systems"].items()]
    bars(path("handshakes"), "CPU of the proxy, us a handshake", "us", note, shakes)
    return sorted(os.listdir(directory))
