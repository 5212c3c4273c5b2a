#include "tools/topology/svg.hpp"

#include <fmt/format.h>

namespace foretoken::topology {
namespace {

// Of the font below at 12 pixels, on the safe side.
constexpr double kLetterWidth = 7.0;

// Colours of a link's kind stay apart for colour-blind eyes; grounds follow the reader's light or dark mode.
constexpr std::string_view kStyle =
    "text{font:12px Helvetica,Arial,sans-serif;fill:#24292f}"
    ".title{font-size:18px;font-weight:bold}.label{text-anchor:middle}.note{fill:#57606a}.right{text-anchor:end}"
    ".sheet{fill:#fff}.gpu{fill:#dff0d0;stroke:#4a7a1f}.nic{fill:#d8e8fb;stroke:#1f5fa8}.switch{fill:#fbe3d0;"
    "stroke:#b35900}.pcie{fill:#ece4f7;stroke:#6b4aa0}.node{fill:#f3f4f6;stroke:#57606a}.more{fill:none;stroke:#57606a;"
    "stroke-dasharray:5 4}.nvlink{stroke:#4a7a1f}.pcielink{stroke:#6b4aa0}.network{stroke:#b35900}"
    ".rule{stroke:#c0c6cc}"
    "@media(prefers-color-scheme:dark){text{fill:#e6edf3}.note{fill:#9aa4ae}.sheet{fill:#0d1117}.gpu{fill:#26401a;"
    "stroke:#8cc265}.nic{fill:#14324f;stroke:#6cb0f0}.switch{fill:#4a2b10;stroke:#f0a060}.pcie{fill:#352550;"
    "stroke:#b79af0}.node{fill:#1b212a;stroke:#9aa4ae}.more{stroke:#9aa4ae}.nvlink{stroke:#8cc265}.pcielink{stroke:"
    "#b79af0}.network{stroke:#f0a060}.rule{stroke:#3a424b}}";

std::string escaped(std::string_view text) {
  std::string safe;
  for (const char letter : text) {
    if (letter == '&') safe += "&amp;";
    else if (letter == '<') safe += "&lt;";
    else if (letter == '>') safe += "&gt;";
    else if (static_cast<unsigned char>(letter) < ' ') safe += ' ';
    else safe += letter;
  }
  return safe;
}

// Cut between characters of UTF-8, never inside one.
std::string fitted(std::string_view text, double width) {
  const auto letters = static_cast<std::size_t>(width / kLetterWidth);
  std::size_t count = 0;
  std::size_t cut = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if ((static_cast<unsigned char>(text[i]) & 0xC0U) == 0x80U) continue;
    if (count + 1 == letters) cut = i;
    ++count;
  }
  return count <= letters ? std::string(text) : std::string(text.substr(0, cut)) + "…";
}

}  // namespace

void Svg::line(Point from, Point to, std::string_view style, double width) {
  lines_ += fmt::format(
      "<line class=\"{}\" x1=\"{:.1f}\" y1=\"{:.1f}\" x2=\"{:.1f}\" y2=\"{:.1f}\" stroke-width=\"{:.1f}\"/>\n", style,
      from.x, from.y, to.x, to.y, width);
}

void Svg::box(const Box& box, std::string_view style, std::string_view label) {
  boxes_ += fmt::format(
      "<g><title>{}</title><rect class=\"{}\" x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\" rx=\"4\"/>",
      escaped(label), style, box.x, box.y, box.width, box.height);
  boxes_ += fmt::format("<text class=\"label\" x=\"{:.1f}\" y=\"{:.1f}\">{}</text></g>\n", box.x + box.width / 2,
                        box.y + box.height / 2 + 4, escaped(fitted(label, box.width)));
}

void Svg::text(Point at, std::string_view style, std::string_view text) {
  boxes_ += fmt::format("<text class=\"{}\" x=\"{:.1f}\" y=\"{:.1f}\">{}</text>\n", style, at.x, at.y, escaped(text));
}

std::string Svg::file(double width, double height, std::string_view title) const {
  return fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" role=\"img\" viewBox=\"0 0 {:.0f} {:.0f}\">\n<title>{}</title>\n"
      "<style>{}</style>\n<rect class=\"sheet\" width=\"{:.0f}\" height=\"{:.0f}\"/>\n{}{}</svg>\n",
      width, height, escaped(title), kStyle, width, height, lines_, boxes_);
}

}  // namespace foretoken::topology
