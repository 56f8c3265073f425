{# How a reason that KSeF gives is read. How patterns are written: dialect/texts.sql. #}

{# Take out what differs between equal mistakes: namespaces, values, references, numbers and quoted
   texts. Names of XML elements and attributes stay: they are the mistake itself. While the steps
   run, ‹ › hold a quoted name and ⟦ ⟧ one without quotes; the latter step comes twice because
   neighbours share the sign between them. #}
{% macro normalised(message) -%}
    {%- set letter = "A-Za-zÀ-ž" -%}
    {%- set word = letter ~ "_/.\\\\#+\\-" -%}
    {%- set end = "([^" ~ letter ~ "0-9]|$)" -%}
    {%- set name = "[" ~ letter ~ "_][" ~ letter ~ "0-9_.-]*" -%}
    {%- set known = "P_[A-Za-z0-9_]+|Podmiot[0-9]K?|AdresL[0-9]|GTU_[0-9]+" -%}
    {%- set path = "/?(Faktura|Fa|FaWiersz|Naglowek|Podmiot[0-9]K?)(/@?" ~ name ~ ")+" -%}
    {%- set technical = "UTF-?8|UTF-?16|UTF-?32|SHA-?1|SHA-?256|AES-?256|[Bb]ase-?64" -%}
    {%- set valued = "[Vv]alue|[Ss]tring|[Ww]arto[śs][a-zćść]*|[Nn]umer[a-z]*|[Nn]umber|[Nn]r|NIP|VAT"
        ~ "|[Ww]alut[a-zęą]*|[Cc]urrency|[Pp]lik[a-z]*|[Ff]ile" -%}
    {%- set field = "[Ff]ield|[Pp]roperty|[Pp]ole|[Pp]ola|[Pp]olu|[Pp]olem|[Ss]ekcj[a-zięą]*" -%}
    {%- set named = "[Ee]lement|[Aa]ttribute|datatype|expected:|prefix|[Aa]trybut[a-z]*" -%}
    {%- set states = "XI|AT|BE|BG|CY|CZ|DE|DK|EE|EL|ES|FI|FR|HR|HU|IE|IT|LT|LU|LV|MT|NL|PL|PT|RO|SE"
        ~ "|SI|SK" -%}
    {%- set units = "B|kB|KB|MB|GB|KiB|MiB|GiB|bytes|bajt[a-zó]*|%|zł|PLN|EUR|USD" -%}
    {%- set keep_name = ("(^|[^" ~ letter ~ "0-9_⟦])(" ~ known ~ "|" ~ technical ~ ")" ~ end,
        "\\1⟦\\2⟧\\3") -%}
    {%- set steps = [
        ("[\\x{00AD}\\x{200B}-\\x{200F}\\x{202A}-\\x{202E}\\x{2060}-\\x{2064}\\x{FEFF}]", ""),
        ("[\\x00-\\x20\\x{00A0}\\x{1680}\\x{2000}-\\x{200A}\\x{2028}\\x{2029}\\x{202F}\\x{3000}]+", " "),
        ("[\"\\x60\\x{00AB}\\x{00B4}\\x{00BB}\\x{2018}-\\x{201F}\\x{2039}\\x{203A}]", "'"),
        ("([" ~ letter ~ "])'([" ~ letter ~ "])", "\\1’\\2"),
        (" in namespace '[^']*'", ""),
        ("([a-z]+://|urn:)[^ ']*[/:]", ""),
        ("([" ~ letter ~ "])\\[[0-9]+\\]", "\\1"),
        ("'[A-Za-z_][A-Za-z0-9_-]*:(" ~ name ~ ")'", "'\\1'"),
        ("'(" ~ known ~ "|" ~ path ~ ")'", "‹\\1›"),
        ("((" ~ valued ~ "):?) '[^']*'", "\\1 '…'"),
        ("(" ~ named ~ ") '(" ~ name ~ "(, " ~ name ~ ")*)'", "\\1 ‹\\2›"),
        ("'(" ~ name ~ ")' (element|attribute)", "‹\\1› \\2"),
        ("(" ~ field ~ ") '([" ~ letter ~ " ]+)'", "\\1 ‹\\2›"),
        ("'([A-Za-z][A-Za-z .]*)' (must|is not in|is required)", "‹\\1› \\2"),
        ("'([A-Za-z_]+)'", "‹\\1›"),
        ("'[^']*'", "'…'"),
        ("[0-9]{8}-[A-Z]{2}-[0-9A-F]{10}-[0-9A-F]{10}-[0-9A-F]{2}", "<reference>"),
        ("[0-9]{10}-[0-9]{8}-([0-9A-F]{12}|[0-9A-F]{6}-[0-9A-F]{6})-[0-9A-F]{2}", "<KSeF number>"),
        ("[A-Za-z0-9+/_-]{22,}={1,2}|[0-9a-fA-F]{64}", "<hash>"),
        keep_name, keep_name,
        ("(art\\. |ust\\. |pkt |§ )([0-9]+[a-z]*)", "\\1⟦\\2⟧"),
        ("(^|[^" ~ word ~ "0-9‹⟦])[" ~ word ~ "]*[0-9]([" ~ word ~ "0-9]*[" ~ letter ~ "0-9])?",
            "\\1<number>"),
        ("<number>([ :,]<number>)+", "<number>"),
        ("(^|[^" ~ letter ~ "])(" ~ states ~ ") <number>", "\\1<number>"),
        ("<number> ?(" ~ units ~ ")" ~ end, "<number>\\2"),
        ("[‹›]", "'"),
        ("[⟦⟧]", ""),
    ] -%}
    {%- set result = namespace(sql=message) -%}
    {%- for pattern, replacement in steps -%}
        {%- set result.sql = kseflow.all_replaced(result.sql, pattern, replacement) -%}
    {%- endfor -%}
    trim({{ result.sql }})
{%- endmacro %}
