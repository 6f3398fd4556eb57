"""The words of the tiny world: names, places, things, and nothing about who goes with what.

Every value of the synthetic data sets is put together from these lists, so the vocabulary of the tiny tokenizer is
closed: a fine-tuning set of any world seed is new in its combinations, never in its words. That is the situation of
the original data for Llama and LLaDA, which know "Barrington" and "director" but not that the two belong together.
All lists are the project's own.
"""

FIRST_NAMES = """Ada Adrian Agnes Alban Alma Amos Anya Ariel Arlo Astrid Axel Basil Beatrix Bela Boris Brenna Bruno Calla
Caspar Cecil Clara Cleo Conrad Cora Cyrus Dagmar Dahlia Damian Daphne Delia Desmond Dorian Edith Edmund Elias Elspeth Emil
Enid Esme Ezra Fabian Felix Fern Flora Freya Gareth Gemma Gideon Greta Gwen Hadley Harlan Hazel Hector Helga Henrik Hugo
Ida Ignatius Imogen Ingrid Iris Isolde Ivan Jasper Joan Jonas Judith Julius Juno Kaspar Keira Konrad Lars Leander Leona
Leopold Lilith Linus Lorna Lucian Lydia Mabel Magnus Maren Marius Mathilda Maud Milo Mina Miriam Nadia Nestor Nina Nolan
Norma Octavia Odette Olaf Olive Orson Oscar Otto Paloma Percy Petra Philip Phoebe Quentin Ramona Regina Roland Rosalind
Rufus Sabine Selma Silas Simone Stella Sven Sybil Tabitha Thaddeus Thea Theo Tobias Ulric Ursula Valda Vera Victor Viola
Wanda Wilhelm Winifred Yara Yvette Zelda Zora""".split()

LAST_NAMES = """Abernathy Aldridge Applegate Ashdown Atwater Bagshaw Barlow Beckwith Bellamy Birch Blackwood Bramwell
Bridgewell Brock Caldwell Cardew Carver Chadwick Clement Cobb Colby Crane Cromwell Dalton Darrow Deverell Drummond Dunmore
Eastwick Eldridge Ellery Fairfax Farrow Fenwick Finch Flint Frost Gainsford Garland Gilroy Goodwin Grimshaw Hale Halloran
Hargrove Harker Hawthorne Hobbs Holloway Huxley Ingram Ives Jardine Jessup Kendrick Keswick Kirkwood Langford Larkspur
Lockhart Lovell Lowell Mallory Mansfield Marchbanks Mayhew Merrick Mortimer Nash Nightingale Northcott Oakes Okafor Orchard
Osgood Paxton Pemberton Penhale Pickering Prescott Quarles Quill Radcliffe Rainford Ravenscroft Redfern Ridley Rourke
Rowntree Sadler Savage Selwyn Sheridan Silverton Skelton Stanhope Sterling Stroud Sutcliffe Talbot Tarrant Thackeray
Thornbury Tilden Trask Tremaine Underhill Upton Vance Vaughan Wainwright Wakefield Walcott Warwick Weatherby Whitlock
Wilder Winslow Wolfe Woodruff Wyndham Yardley Yates""".split()

TRAITS = """acclaimed amiable ardent austere bashful bold candid careless cautious celebrated charming clever cunning
daring devoted diligent eccentric eloquent fearless fiery forgotten frugal generous gentle gifted grumpy humble jovial
legendary lonely merry modest moody nimble obscure patient pensive pious playful proud quirky reclusive restless ruthless
secretive shrewd silent solemn stern stubborn tireless vain wandering wise witty""".split()

ROLES = """admiral alchemist antiquary archer architect astronomer baker beekeeper botanist brewer captain carpenter
cartographer chemist clockmaker collector composer conductor curator dancer detective diplomat director diver drummer
engineer explorer falconer fiddler gardener geologist glassblower governor guardian historian illustrator inventor jeweller
juggler keeper librarian magician mason miner navigator novelist painter pilot poet potter printer ranger sailor sculptor
singer smuggler surgeon tailor weaver""".split()

DEEDS = """built buried charted conquered crossed defended designed discovered found founded guarded hid lost mapped
painted photographed raised repaired restored rescued sank silenced sold stole tamed won""".split()

QUALITIES = """amber ancient blazing bottomless broken bronze copper coral crimson crooked crystal drowned ebony electric
emerald endless floating folding frozen giant glass golden granite haunted hollow indigo iron ivory jade leaden luminous
marble midnight mirrored mossy nameless northern obsidian paper petrified purple rusty sapphire scarlet singing silken
silver sleeping southern striped sunken swift talking thorny turquoise twisted velvet violet whispering winding
wooden""".split()

THINGS = """abbey anchor anvil aqueduct archive balloon beacon bell bridge canal caravan carousel castle cathedral cavern
chariot cinema citadel clock comet compass crown desert dome dragon engine fortress fountain galleon garden glacier globe
harbour harp hourglass island kite labyrinth lagoon lantern lighthouse locomotive maze meadow monastery mosaic
observatory opera orchid organ palace pendulum piano pyramid raven reef sceptre ship statue submarine symphony tapestry
telescope temple theatre tower tunnel violin volcano waterfall windmill zeppelin""".split()

CITIES = """Alderton Ambleford Ashcombe Barrowby Bexford Blackmere Brackley Calderon Carnwick Colborne Corvale Cragmoor
Dalmere Dunholm Eastmarch Ellerby Fallowdale Farnley Glenrock Greyport Halden Harrowgate Hollin Ivybridge Kelso Kenton
Kingsbarrow Larkfield Linwood Marlow Maplecrest Millhaven Netherby Norwell Oakham Oldmarsh Pinehurst Ravenna Redcliff
Rookwood Saltmarsh Seabrook Selby Silverlake Stonebury Summerton Tamworth Thornhill Tilbury Torrance Upwell Valemont
Walden Wexford Whitby Windermere Wolcott Wyndale Yarrow Zennor""".split()

STATES = "AL AR AZ CA CO FL GA IA ID IL KS LA MA MD ME MI MN MO NC NE NJ NM NV NY OH OR PA TN TX UT VA VT WA WI".split()

MONTHS = "January February March April May June July August September October November December".split()
DAYS = [str(day) for day in range(1, 29)]
YEARS = [str(year) for year in range(1930, 2000)]

SCHOOL_NAMES = """Abingdon Bancroft Beaufort Belmont Bradwell Bristow Carlisle Cheviot Clarendon Dartmoor Devonshire
Exmoor Falmouth Gatehouse Granville Hartwell Hemlock Ilford Juniper Kestrel Lancaster Lindisfarne Meridian Montrose
Newbold Orchardson Pembroke Quarry Rosemont Sandhurst Trinity Ulverston Verity Waverley Wycombe""".split()
SCHOOL_KINDS = "University College Institute Academy School Polytechnic Conservatory".split()

MAJORS = """Accounting Acoustics Agronomy Anatomy Anthropology Archaeology Astronomy Biology Botany Calligraphy Ceramics
Chemistry Choreography Cryptography Dentistry Ecology Economics Entomology Ethics Forestry Genetics Geography Geology
Hydrology Journalism Law Linguistics Logic Mathematics Medicine Metallurgy Meteorology Music Nursing Nutrition
Oceanography Optics Pharmacy Philosophy Physics Psychology Robotics Sculpture Sociology Statistics Theology Tourism
Zoology""".split()

COMPANIES = """Acorn Apex Arcadia Argus Atlas Aurora Borealis Boulder Cascade Catalyst Citadel Cobalt Condor Cyclone
Delphi Dynamo Eclipse Electra Ember Equinox Falcon Fathom Fulcrum Galaxy Gemini Harvest Helios Horizon Hyperion Icarus
Jupiter Keystone Lattice Lodestar Mercury Monolith Nebula Nimbus Nova Oasis Octane Olympus Onyx Orion Osprey Paragon
Phoenix Pinnacle Polaris Prism Quantum Quasar Saturn Sentinel Sierra Solstice Summit Tempest Titan Umbra Vanguard Vertex
Vortex Zenith Zephyr""".split()
COMPANY_KINDS = "Industries Motors Systems Energy Foods Airlines Textiles Bank".split()

SPORTS = """archery badminton billiards bowls boxing canoeing chess climbing cricket croquet curling cycling darts diving
fencing golf gymnastics handball hockey hurling judo karate lacrosse netball orienteering polo quoits rowing rugby sailing
skating skiing snooker squash surfing swimming tennis volleyball wrestling""".split()
ARTS = """ballet choir cinema circus comedy dance fashion folklore ghost jazz kite lantern mask opera poetry pottery puppet
shadow storytelling theatre tango woodcraft""".split()
TOURNAMENTS = "Cup Trophy Open Masters Championship Shield Games".split()
FESTIVALS = "Festival Fair Carnival Biennale Week".split()
ORDINALS = """second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth fourteenth fifteenth
sixteenth seventeenth eighteenth nineteenth twentieth""".split()
BODIES = "Federation League Society Council Guild Trust Union Foundation".split()
REGIONS = """Adriatic Alpine Andean Arctic Atlantic Baltic Bengal Caribbean Caspian Celtic Danubian Ionian Levantine
Nordic Pacific Pannonian Saharan Sicilian Tasman Ural""".split()
VENUES = "Arena Stadium Hall Pavilion Park Garden Gallery Centre".split()
COUNTRIES = """Albania Argentina Austria Belgium Bolivia Brazil Bulgaria Canada Chile Colombia Croatia Cuba Cyprus
Denmark Ecuador Egypt Estonia Ethiopia Fiji Finland Ghana Greece Hungary Iceland India Ireland Italy Jamaica Japan Kenya
Latvia Malta Mexico Morocco Nepal Norway Panama Peru Poland Portugal Romania Senegal Serbia Slovenia Spain Sweden Tunisia
Turkey Uganda Uruguay Vietnam Zambia""".split()
THOUSANDS = [str(number) for number in range(31, 100)]
