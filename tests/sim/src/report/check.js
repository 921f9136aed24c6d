const looks = [];

function look(frame, width) {
  const doc = frame.contentDocument, view = frame.contentWindow, faults = [];
  const box = element => element.getBoundingClientRect();
  doc.querySelectorAll("details").forEach(details => { details.open = true; });

  const plots = [...doc.querySelectorAll("figure > svg")];
  plots.forEach((svg, index) => {
    const frame = box(svg), name = `plot ${index} (${svg.getAttribute("aria-label")})`;
    if (!(frame.width > 100 && frame.height > 50)) faults.push(`${name}: ${frame.width} by ${frame.height}`);
    if (!svg.querySelector("circle, rect, polygon, polyline")) faults.push(`${name}: nothing is drawn`);
    for (const element of svg.querySelectorAll("*"))
      for (const {name: attribute, value} of element.attributes)
        if (/^(x|y|r|d|points|width|height|c[xy]|[xy][12])$/.test(attribute) && /NaN|inf/i.test(value))
          faults.push(`${name}: ${attribute}="${value}"`);
    const texts = [...svg.querySelectorAll("text")].map(text => [text.textContent.trim(), box(text)]);
    texts.forEach(([a, p], at) => {
      if (p.left < frame.left - 1 || p.right > frame.right + 1 || p.bottom > frame.bottom + 1)
        faults.push(`${name}: "${a}" is cut`);
      if (p.height < 9) faults.push(`${name}: "${a}" is ${p.height} px high`);
      texts.slice(at + 1).forEach(([b, q]) => {
        if (p.left < q.right - 1 && q.left < p.right - 1 && p.top < q.bottom - 3 && q.top < p.bottom - 3)
          faults.push(`${name}: "${a}" lies upon "${b}"`);
      });
    });
  });

  const overflow = doc.documentElement.scrollWidth - view.innerWidth;
  if (overflow > 0) faults.push(`the page is ${overflow} px too wide`);
  doc.querySelectorAll("[src], [href], [srcset], link, script, object, embed").forEach(element => {
    const target = element.getAttribute("href");
    const place = target && target.startsWith("#") && doc.getElementById(target.slice(1));
    if (!place) faults.push(`<${element.localName}> leads out of the page: ${target}`);
  });
  for (const style of doc.querySelectorAll("style, [style]"))
    if (/url\(|@import|:\/\//.test(style.getAttribute("style") ?? style.textContent))
      faults.push("a style leads out of the page");
  view.performance.getEntriesByType("resource").forEach(({name}) => faults.push(`${name} was fetched`));

  looks.push({
    width: view.innerWidth,
    scenarios: [...doc.querySelectorAll("section.scenario > h2")].map(heading => heading.textContent),
    plots: plots.map(plot => [box(plot).width, box(plot).height]),
    faults,
  });
  if (looks.length === widths.length) {
    const out = document.createElement("pre");
    out.id = "probe";
    out.textContent = JSON.stringify(looks.sort((a, b) => a.width - b.width));
    document.body.replaceChildren(out);
  }
}

widths.forEach(width => {
  const frame = document.createElement("iframe");
  frame.style = `border: 0; width: ${width}px; height: 900px`;
  frame.onload = () => look(frame, width);
  frame.srcdoc = page;
  document.body.append(frame);
});
